import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { qemuArguments } from '../../src/engines/qemu/arguments.ts'
import type { Qemu } from '../../src/engines/qemu/qemu.ts'
import { CpioWriter } from '../../src/guest-image/cpio.ts'
import type { GuestImage } from '../../src/guest-image/guest-image.ts'
import type { ResultLine } from './result-lines.ts'

/** The tests take about three minutes on an idle machine. */
const TIMEOUT_MS = 14 * 60_000
/** Mount point of this machine's files in the guest, before chroot. */
const ROOT = '/mnt'
const FILE_MOUNT = 'root'

export interface DriverGuest {
  readonly qemu: Qemu
  readonly image: GuestImage
  readonly memoryMiB: number
  /** Compiled test file. */
  readonly tests: URL
  /** Further environment variables of Node in the guest. */
  readonly environment?: Readonly<Record<string, string>>
  /** Called with each line that the tests print, while they run. */
  readonly onLine?: (line: string) => void
}

/** Results of the tests in the guest. */
export interface GuestReport {
  readonly results: readonly ResultLine[]
  /** Exit status of Node; undefined if the guest did not finish. */
  readonly status: number | undefined
  /** Other output of Node, the guest's kernel and QEMU. */
  readonly output: string
}

/**
 * Boots a kernel with udmabuf, and runs a test file there with this machine's Node, libraries and project: the guest
 * mounts this machine's whole file system, read-only.
 */
export async function runInGuest(guest: DriverGuest): Promise<GuestReport> {
  const { image, memoryMiB } = guest
  const folder = mkdtempSync(path.join(tmpdir(), 'outboard-udmabuf-'))
  const file = path.join(folder, 'report.sock')
  const server = createServer().listen(file)
  const report = readReport(server, guest.onLine)
  try {
    await once(server, 'listening')
    const initrd = path.join(folder, 'initrd')
    writeFileSync(initrd, Buffer.concat([readFileSync(image.initrd), overlay({ init: firstProcess(guest) })]))
    const { program } = guest.qemu
    const boot = { kernel: image.kernel, initrd, commandLine: `${image.commandLine} panic=-1` }
    const child = spawn(
      program.command,
      [
        ...program.args,
        ...qemuArguments({ accelerator: 'tcg', memoryMiB, boot, devices: [] }),
        ...['-fsdev', 'local,id=files,path=/,security_model=none,readonly=on,multidevs=remap'],
        ...['-device', `virtio-9p-pci,fsdev=files,mount_tag=${FILE_MOUNT}`],
        ...['-device', 'virtio-gpu-pci', '-device', 'virtio-serial-pci'],
        ...['-chardev', `socket,id=report,path=${file}`, '-device', 'virtserialport,chardev=report,name=report'],
      ],
      { env: { ...process.env, ...program.env }, stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
    const timeout = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS)
    await once(child, 'close')
    clearTimeout(timeout)
    server.close()
    const result = await report
    return { ...result, output: result.output + output }
  } finally {
    server.close()
    rmSync(folder, { recursive: true })
  }
}

/** Reads the report of the guest until QEMU ends; returns an empty one if QEMU never connects. */
async function readReport(server: Server, onLine: (line: string) => void = () => {}): Promise<GuestReport> {
  const results: ResultLine[] = []
  let status: number | undefined
  let output = ''
  const connected = once(server, 'connection') as Promise<[Socket]>
  const [socket] = await Promise.race([connected, once(server, 'close').then(() => [undefined])])
  if (!socket) return { results, status, output }
  for await (const line of createInterface(socket)) {
    if (line.startsWith('{"name":')) results.push(JSON.parse(line))
    else if (line.startsWith('status ')) status = Number(line.slice(7))
    else if (line !== '') {
      output += `${line}\n`
      onLine(line)
    }
  }
  return { results, status, output }
}

/** Returns an archive that the kernel unpacks over the files of an image. @param init script of the first process */
export function overlay({ init, ...files }: { init: string; [file: string]: string | Uint8Array }): Uint8Array {
  const archive = new CpioWriter()
  archive.file('init', new TextEncoder().encode(init), 0o755)
  for (const [file, content] of Object.entries(files)) {
    archive.file(file, typeof content === 'string' ? new TextEncoder().encode(content) : content, 0o644)
  }
  return archive.finish()
}

function firstProcess({ tests, environment }: DriverGuest): string {
  const reporter = fileURLToPath(new URL('./result-lines.js', import.meta.url))
  const variables = Object.entries({ TMPDIR: '/dev/shm', ...environment }).map(([name, value]) => `${name}=${value}`)
  const node = [process.execPath, '--enable-source-maps', `--test-reporter=${reporter}`, '--test', fileURLToPath(tests)]
  const words = ['env', ...variables, 'chroot', ROOT, ...node]
  return `#!/bin/busybox sh
/bin/busybox mount -a
modprobe -a 9pnet_virtio 9p vgem virtio_gpu
report=/dev/vport0p1
for port in /sys/class/virtio-ports/*; do report=/dev/\${port##*/}; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro ${FILE_MOUNT} ${ROOT} >$report 2>&1
mount -t debugfs debugfs /sys/kernel/debug
for folder in dev proc sys; do mount -o rbind /$folder ${ROOT}/$folder; done
mkdir -p /dev/shm
# Of 2 MiB each.
echo 8 >/proc/sys/vm/nr_hugepages
${words.map(quoted).join(' ')} >$report 2>&1 </dev/null
echo "status $?" >$report
poweroff -f
`
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}
