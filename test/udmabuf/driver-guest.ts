import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { CpioWriter } from '../../src/engines/kit/cpio.ts'
import type { GuestKit } from '../../src/engines/kit/kit.ts'
import { qemuArguments } from '../../src/engines/qemu/arguments.ts'
import type { Qemu } from '../../src/engines/qemu/qemu.ts'
import type { ResultLine } from './result-lines.ts'

const MEMORY_MIB = 1536
/** For what takes seconds where nothing else runs. */
const PATIENCE_MS = 10 * 60_000
/** Where this machine's files are in the guest, before it changes to them. */
const ROOT = '/mnt'
const FILE_MOUNT = 'root'

/** What became of the tests that ran in the guest. */
export interface GuestReport {
  readonly results: readonly ResultLine[]
  /** Exit status of Node; undefined where the guest did not come to its end. */
  readonly status: number | undefined
  /** Whatever else was said: by Node, the guest's kernel and QEMU. */
  readonly said: string
}

/**
 * Boots a kernel that has the driver, and runs a file of tests there with this machine's Node, libraries and project: its
 * whole file system is the guest's, for reading only.
 */
export async function runInGuest(qemu: Qemu, kit: GuestKit, tests: URL): Promise<GuestReport> {
  const folder = mkdtempSync(path.join(tmpdir(), 'outboard-udmabuf-'))
  try {
    const initrd = path.join(folder, 'initrd')
    writeFileSync(initrd, Buffer.concat([readFileSync(kit.initrd), overlay(firstProcess(fileURLToPath(tests)))]))
    const report = path.join(folder, 'report')
    const { program } = qemu
    const boot = { kernel: kit.kernel, initrd, commandLine: `${kit.commandLine} panic=-1` }
    const child = spawn(
      program.command,
      [
        ...program.args,
        ...qemuArguments({ accelerator: 'tcg', memoryMiB: MEMORY_MIB, boot, devices: [] }),
        ...['-fsdev', 'local,id=files,path=/,security_model=none,readonly=on,multidevs=remap'],
        ...['-device', `virtio-9p-pci,fsdev=files,mount_tag=${FILE_MOUNT}`],
        ...['-device', 'virtio-gpu-pci', '-device', 'virtio-serial-pci'],
        ...['-chardev', `file,id=report,path=${report}`, '-device', 'virtserialport,chardev=report,name=report'],
      ],
      { env: { ...process.env, ...program.env }, stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let said = ''
    for (const output of [child.stdout, child.stderr]) output.setEncoding('utf8').on('data', (text) => (said += text))
    const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
    await once(child, 'close')
    clearTimeout(late)
    return readReport(readFileSync(report, 'utf8'), said)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function readReport(report: string, said: string): GuestReport {
  const results: ResultLine[] = []
  let status: number | undefined
  for (const line of report.split('\n')) {
    if (line.startsWith('{"name":')) results.push(JSON.parse(line))
    else if (line.startsWith('status ')) status = Number(line.slice(7))
    else if (line !== '') said += `${line}\n`
  }
  return { results, status, said }
}

/** What the kernel unpacks over the kit's files. */
function overlay(init: string): Uint8Array {
  const archive = new CpioWriter()
  archive.file('init', new TextEncoder().encode(init), 0o755)
  return archive.finish()
}

function firstProcess(tests: string): string {
  const reporter = fileURLToPath(new URL('./result-lines.js', import.meta.url))
  const node = [process.execPath, '--enable-source-maps', `--test-reporter=${reporter}`, '--test', tests]
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
TMPDIR=/dev/shm chroot ${ROOT} ${node.map(quoted).join(' ')} >$report 2>&1 </dev/null
echo "status $?" >$report
poweroff -f
`
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}
