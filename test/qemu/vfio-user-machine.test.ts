/** Machine of vfio-user functions, as of `outboard run`. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { MAIN } from './device-program.ts'
import { qemuMissing, vfioUserMissing } from './guest.ts'

const skip = qemuMissing ?? vfioUserMissing ?? false

/** Linux's names of the vectors, by virtio id. */
const VECTORS: Readonly<Record<string, readonly string[]>> = {
  // The control transmit queue of the console has no callback in Linux, and thus no vector.
  '0x0003': ['config', 'input', 'output', 'control-i', ...Array.from({ length: 3 }, () => ['input', 'output']).flat()],
  '0x0004': ['config', 'input'],
  '0x0010': ['config', 'control', 'cursor'],
  '0x0012': ['config', 'events', 'status'],
}
const FUNCTIONS = ['0x0003', '0x0004', '0x0010', '0x0012', '0x0012']

test('each device of a machine is a PCI device with a vector for each queue', {
  skip,
  timeout: 300_000,
}, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[MAIN, 'run', '--engine', 'qemu', '--transport', 'vfio-user', '--net', 'none', '--display', 'none'],
    ...['--timeout', '240'],
    ...['--exec', 'cd /sys/bus/virtio/devices; grep . */device; dmesg; cat /proc/interrupts'],
  ])
  const devices = [...stdout.matchAll(/^(virtio\d+)\/device:(0x\w+)$/gm)]
  assert.deepEqual(devices.map(([, , kind]) => kind).sort(), FUNCTIONS)
  for (const [, name, kind] of devices) {
    const vectors = stdout.matchAll(new RegExp(`PCI-MSIX-\\S+ +\\d+-edge +${name}-(\\S+)$`, 'gm'))
    assert.deepEqual(
      [...vectors].map(([, vector]) => vector),
      VECTORS[kind],
      `${name} is ${kind}`,
    )
  }
  assert.match(stdout, /features: -virgl \+edid \+resource_blob/)
})
