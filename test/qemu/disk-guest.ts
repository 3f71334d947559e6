import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { findKit } from '../../src/engines/kit/kit.ts'
import { AMD64_KIT } from '../../src/engines/kit/recipe.ts'
import { qemuArguments } from '../../src/engines/qemu/arguments.ts'
import { Transport } from '../../src/engines/qemu/qemu.ts'
import { qemu } from './guest.ts'

/** A guest of whose devices only the disk is ours. */
export interface DiskGuest {
  readonly qemu: ChildProcess
  /** Runs a shell command. @returns its output and errors @throws where it fails, and where the guest is gone */
  run(command: string): Promise<string>
  /** Told each line of the output of commands, from now on. */
  onLine: (line: string) => void
  /** Ends it as a failing machine would, if it is there still. */
  kill(): Promise<void>
}

export interface DiskGuestOptions {
  /** Where the disk is served. When nobody serves it any more QEMU calls again, until somebody does. */
  readonly socket: string
  /** For the sockets of its ports; none is there yet. */
  readonly folder: string
  /** A file for a second disk, which QEMU serves, to be read only. */
  readonly data?: string
  /** Of the disk, 1 unless told; the guest uses as many as it has processors. */
  readonly queues?: number
  /** Whether the disk's rings are packed ones. */
  readonly packed?: boolean
}

const PORTS = ['command', 'stdout', 'stderr'] as const
const MEMORY_MIB = 512
const RECONNECT_MS = 20

/**
 * Boots a guest in QEMU, with a disk at a socket and QEMU's own console device for commands: the kit's command agent does
 * not care whose ports it finds.
 */
export async function bootDiskGuest({
  socket,
  folder,
  data,
  queues = 1,
  packed = false,
}: DiskGuestOptions): Promise<DiskGuest> {
  const boot = findKit(AMD64_KIT)
  if (!boot) throw new Error('no guest kit for QEMU')
  const { program } = qemu()
  const file = (port: string): string => path.join(folder, `${port}.sock`)
  const child = spawn(
    program.command,
    [
      ...program.args,
      ...qemuArguments({ accelerator: 'tcg', memoryMiB: MEMORY_MIB, boot, devices: [] }),
      ...['-chardev', `socket,id=disk,path=${socket},reconnect-ms=${RECONNECT_MS}`],
      ...['-device', `${Transport.BLOCK},chardev=disk,num-queues=${queues},packed=${packed ? 'on' : 'off'}`],
      ...['-smp', `${queues}`, '-device', 'virtio-serial-pci'],
      ...(data === undefined
        ? []
        : ['-drive', `if=none,id=data,format=raw,readonly=on,file=${data}`, '-device', 'virtio-blk-pci,drive=data']),
      ...PORTS.flatMap((port) => [
        ...['-chardev', `socket,id=${port},path=${file(port)},server=on,wait=off`],
        ...['-device', `virtserialport,chardev=${port},name=org.outboard.${port}`],
      ]),
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
  const [command, stdout] = await Promise.race([Promise.all(PORTS.map((port) => connected(file(port)))), gone])
  const drained = once(stdout, 'close')
  const guest = {
    qemu: child,
    onLine: (_line: string): void => {},
    run: async (text: string): Promise<string> => {
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
    kill: async (): Promise<void> => {
      child.kill('SIGKILL')
      await ended
      // What the guest had said before is still on its way.
      await drained
    },
  }
  let take = (_line: string): void => {}
  createInterface(stdout).on('line', (line) => {
    guest.onLine(line)
    take(line)
  })
  await Promise.race([once(command, 'data'), gone])
  command.resume()
  return guest
}

/** A socket that QEMU makes when it starts. */
async function connected(file: string): Promise<Socket> {
  for (;;) {
    const socket = connect(file)
    try {
      await once(socket, 'connect')
      return socket.on('error', () => {})
    } catch {
      await sleep(20)
    }
  }
}
