import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import { qemuArguments } from '../../src/engines/qemu/arguments.ts'
import { findGuestImage, type GuestImage } from '../../src/guest-image/guest-image.ts'
import { qemu } from './guest.ts'

/** Guest with QEMU's console, which executes commands independently of our devices. */
export interface PortGuest {
  readonly qemu: ChildProcess
  /** Output of QEMU and of the guest's kernel so far. */
  readonly said: readonly string[]
  /**
   * Runs a shell command whose output is complete lines.
   * @returns output and errors
   * @throws if it fails or QEMU exits
   */
  run(command: string): Promise<string>
  /** Called with each line of the output of later commands. */
  onLine: (line: string) => void
  /** Kills QEMU, like a failure of the host. Idempotent. */
  kill(): Promise<void>
}

export interface PortGuestOptions {
  /** Empty folder for the sockets of its ports. */
  readonly folder: string
  /** True if guest memory is private to QEMU: no device process can map it. */
  readonly privateMemory?: boolean
  /** Further arguments of QEMU, such as our devices. */
  readonly arguments: readonly string[]
  /** Image to boot if the default one lacks a driver, and its memory. */
  readonly image?: GuestImage
  readonly memoryMiB?: number
}

const PORTS = ['command', 'stdout', 'stderr'] as const
const MEMORY_MIB = 512

/** Boots a guest in QEMU. The image's command agent works with ports of any device. */
export async function bootPortGuest(options: PortGuestOptions): Promise<PortGuest> {
  const { image: boot = findGuestImage(AMD64_IMAGE), memoryMiB = MEMORY_MIB } = options
  if (!boot) throw new Error('no guest image for QEMU')
  const { program } = qemu()
  const file = (port: string): string => path.join(options.folder, `${port}.sock`)
  const machine = qemuArguments({ accelerator: 'tcg', memoryMiB, boot, devices: [] })
  const child = spawn(
    program.command,
    [
      ...program.args,
      ...(options.privateMemory ? unshared(machine) : machine),
      ...['-device', 'virtio-serial-pci'],
      ...PORTS.flatMap((port) => [
        ...['-chardev', `socket,id=${port},path=${file(port)},server=on,wait=off`],
        ...['-device', `virtserialport,chardev=${port},name=org.outboard.${port}`],
      ]),
      ...options.arguments,
    ],
    { env: { ...process.env, ...program.env }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const said: string[] = []
  for (const output of [child.stdout, child.stderr]) createInterface(output).on('line', (line) => said.push(line))
  const ended = once(child, 'exit')
  const gone = ended.then(([status, signal]) => {
    throw new Error(`QEMU ended with ${status ?? signal}\n${said.join('\n')}`)
  })
  gone.catch(() => {})
  const [command, stdout] = await Promise.race([gone, Promise.all(PORTS.map((port) => connected(file(port), child)))])
  let take = (_line: string): void => {}
  const drained = once(stdout, 'close')
  const guest: PortGuest = {
    qemu: child,
    said,
    onLine: () => {},
    async run(text) {
      const lines: string[] = []
      const over = new Promise<number>((resolve) => {
        take = (line) => {
          const end = /^end of command: (\d+)$/.exec(line)
          if (end) resolve(Number(end[1]))
          else lines.push(line)
        }
      })
      const script = `{\n${text}\n} 2>&1\necho "end of command: $?"`
      command.write(`${Buffer.from(script).toString('base64')}\n`)
      const status = await Promise.race([over, gone])
      if (status !== 0) throw new Error(`the guest's command ended with ${status}\n${[...lines, ...said].join('\n')}`)
      return lines.join('\n')
    },
    async kill() {
      child.kill('SIGKILL')
      await ended
      // Earlier output of the guest may still be in transit.
      await drained
    },
  }
  createInterface(stdout).on('line', (line) => {
    guest.onLine(line)
    take(line)
  })
  await Promise.race([once(command, 'data'), gone])
  command.resume()
  return guest
}

/** Removes sharing from the memory in QEMU's arguments. */
function unshared(args: readonly string[]): string[] {
  const object = args.indexOf('-object')
  return args.filter((_, i) => i !== object && i !== object + 1).map((arg) => arg.replace(',memory-backend=memory', ''))
}

/** Connects to a socket that QEMU opens at its start. @throws if QEMU exits before */
export async function connected(file: string, qemu: ChildProcess): Promise<Socket> {
  while (qemu.exitCode === null && qemu.signalCode === null) {
    const socket = connect(file)
    try {
      await once(socket, 'connect')
      return socket.on('error', () => {})
    } catch {
      await sleep(20)
    }
  }
  throw new Error('QEMU ended')
}
