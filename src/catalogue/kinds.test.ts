import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { createReactor } from '../host/linux/reactor/create-reactor.ts'
import { DeviceId } from '../virtio/device-id.ts'
import type { DeviceHost, DeviceKind } from './device-kind.ts'
import { loadKinds } from './index.ts'
import { openDevice } from './open-device.ts'
import { optionName, parseSettings, type Settings } from './options.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-kinds-'))
after(() => rmSync(folder, { recursive: true }))
const disk = path.join(folder, 'disk.img')
writeFileSync(disk, '')
truncateSync(disk, 1 << 20)
const memory = path.join(folder, 'data.pmem')
writeFileSync(memory, '')
truncateSync(memory, 2 << 20)

const kinds = await loadKinds()

/** Host of a machine in this process. */
const HOST: DeviceHost = {
  transport: 'virtio-pci',
  log() {},
  fail(error) {
    throw error
  },
  report() {},
}

test('every kind has names and numbers of its own', () => {
  for (const property of ['name', 'id'] as const) {
    const values = kinds.map((kind) => kind[property])
    assert.deepEqual([...new Set(values)], values)
  }
  const types = kinds.map(({ vhostUser }) => vhostUser.type)
  assert.deepEqual([...new Set(types)], types)
})

for (const kind of kinds) {
  test(`${kind.name}: the summary and the options are one line each, without a full stop`, () => {
    const summaries = [kind.summary, ...Object.values(kind.options).map(({ summary }) => summary)]
    for (const summary of summaries) assert.match(summary, /^\S[^\n]*[^.\s]$/)
    const names = Object.entries(kind.options).map(([name, option]) => optionName(name, option))
    assert.deepEqual([...new Set(names)], names)
    for (const name of names) assert.match(name, /^[a-z][a-z0-9-]*$/)
  })
}

const GENERIC = kinds.filter(({ qemu }) => 'generic' in qemu)

for (const kind of GENERIC) {
  test(`${kind.name}: the device has the queues and the configuration space that QEMU gives the guest`, async () => {
    assert.ok('generic' in kind.qemu)
    const { queues, configBytes } = kind.qemu.generic
    const reactor = createReactor()
    const host: DeviceHost = { ...HOST, transport: 'vfio-user', reactor }
    const { served, close } = await openDevice(kind, parseSettings(kind.options, settingsFor(kind)), host)
    assert.ok('device' in served)
    const { device } = served
    assert.equal(device.id, kind.id)
    assert.equal(device.queueSizes.length, queues)
    assert.equal(device.config.view.byteLength, configBytes)
    await close()
    reactor.close()
  })
}

/** Settings without which a kind cannot be opened. */
function settingsFor({ id }: DeviceKind): Settings {
  if (id === DeviceId.BLOCK) return { 'blk-file': disk }
  return id === DeviceId.PMEM ? { 'mem-path': memory } : {}
}
