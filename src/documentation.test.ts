/** What the documentation shows runs: the guide's example, and the lives in ten lines above the central classes. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { BlkType } from './devices/virtio/block/protocol.ts'
import * as eventCodes from './devices/virtio/input/event-codes.ts'
import * as outboard from './index.ts'
import * as testing from './testing.ts'
import { RegisterBlock } from './transport/virtio-pci/register-block.ts'
import { VirtioPciDriver } from './transport/virtio-pci/testing/virtio-pci-driver.ts'
import '../examples/random-byte-device.test.ts'

const ROOT = import.meta.dirname.replace(/[\\/]dist[\\/](\.[^\\/]+[\\/])?src$/, '')

function read(file: string): string {
  return readFileSync(path.join(ROOT, file), 'utf8')
}

/** A file of the project as a user of the package writes it. */
function asUser(file: string): string {
  return read(file)
    .replace("'../src/index.ts'", "'outboard'")
    .replace("'../src/testing.ts'", "'outboard/testing'")
    .replace("'../src/linux.ts'", "'outboard/linux'")
    .replace("'../src/node.ts'", "'outboard/node'")
}

test('the guide to writing a device shows the example and its test as they are', () => {
  const guide = read('docs/writing-a-device.md')
  const examples = ['random-byte-device.ts', 'random-byte-device.test.ts', 'pattern-function.ts']
  for (const file of examples.map((name) => `examples/${name}`)) {
    assert.ok(guide.includes(`\`\`\`ts\n${asUser(file)}\`\`\``), file)
  }
})

test('the page for library users shows a machine and a server as they are', () => {
  const page = read('docs/library.md')
  for (const name of ['dice.ts', 'dice-kind.ts', 'machine-with-device.ts', 'serve-random-byte.ts']) {
    assert.ok(page.includes(`\`\`\`ts\n${asUser(`examples/${name}`)}\`\`\``), name)
  }
})

test('the documentation of the export socket shows a consumer as it is', () => {
  assert.ok(read('docs/frames.md').includes(`\`\`\`ts\n${asUser('examples/frame-consumer.ts')}\`\`\``))
})

/** The indented lines of the comment above a class. */
function exampleOf(file: string, name: string): string {
  const source = read(`src/${file}`)
  const [, before] = source.match(new RegExp(`([^]*)\\nexport class ${name}\\b`)) ?? []
  const comment = before?.slice(before.lastIndexOf('/**')) ?? ''
  const lines = [...comment.matchAll(/^ \* {5}(.*)$/gm)].map(([, line]) => line)
  assert.ok(lines.length > 0, `${name} has no example`)
  return lines.join('\n')
}

const source: outboard.RandomSource = { fill: (bytes) => bytes.fill(4) }
const log = () => {}
const bus = { setInterruptLine() {}, sendMessage() {} }
const identity = { vendor: 1, device: 2, revision: 3, classCode: 4, subsystemVendor: 5, subsystem: 6 }
const bars = [
  { index: 0, size: 4096, kind: 'memory32', prefetchable: false, address: 0, device: { read: () => 0, write() {} } },
]
const description: outboard.InputDescription = {
  name: 'test',
  serial: '1',
  ids: { bus: eventCodes.BUS_VIRTUAL, vendor: 1, product: 1, version: 1 },
  properties: [],
  events: { [eventCodes.EV_KEY]: [30] },
  axes: {},
}

function makeMemory(): outboard.GuestMemory {
  return new outboard.GuestMemory([outboard.MemoryRegion.over(0, new Uint8Array(1 << 20))])
}

/** What each example takes for granted, besides what the package exports. */
const EXAMPLES: readonly [file: string, name: string, given: () => Record<string, unknown>][] = [
  ['memory/guest-memory.ts', 'GuestMemory', () => ({ address: 4096, length: 16 })],
  [
    'memory/scatter-list.ts',
    'ScatterList',
    () => ({
      memory: makeMemory(),
      entries: [{ address: 4096, length: 64 }],
      row: 1,
      stride: 16,
      pixels: new Uint8Array(16),
    }),
  ],
  ['virtqueue/driver/guest-allocator.ts', 'GuestAllocator', () => ({ region: makeMemory().regions[0] })],
  ['virtqueue/driver/queue-rig.ts', 'QueueRig', () => ({})],
  ['virtio/config-space.ts', 'ConfigSpace', () => ({ scanouts: 1 })],
  [
    'virtio/device-state.ts',
    'DeviceState',
    () => ({
      device: new outboard.EntropyDevice(source),
      transport: {
        memory: makeMemory(),
        queueInterrupt: log,
        configInterrupt: log,
        queueReset: log,
        deviceReset: log,
        log,
      },
    }),
  ],
  ['virtio/testing/device-rig.ts', 'DeviceRig', () => ({ source })],
  [
    'pci/configuration-space.ts',
    'ConfigurationSpace',
    () => ({ identity, bars, msix: new outboard.Msix(1, 1, { sendMessage: log }), onChange: log }),
  ],
  ['pci/msi.ts', 'Msi', () => ({ identity, bars, bus, onChange: log })],
  ['pci/msix.ts', 'Msix', () => ({ bus })],
  ['transport/virtio-pci/register-block.ts', 'RegisterBlock', () => ({ RegisterBlock, select: 0, size: 8 })],
  [
    'transport/virtio-pci/virtio-pci-function.ts',
    'VirtioPciFunction',
    () => ({ source, bus, log, memory: makeMemory() }),
  ],
  [
    'transport/virtio-pci/testing/virtio-pci-driver.ts',
    'VirtioPciDriver',
    () => {
      const memory = makeMemory()
      const pci = new outboard.VirtioPciFunction(new outboard.EntropyDevice(source), bus, { memory, log })
      return { VirtioPciDriver, pci, region: memory.regions[0], address: 1024 }
    },
  ],
  ['devices/virtio/block/block.ts', 'BlockDevice', () => ({ BlkType, header: () => new Uint8Array(16) })],
  ['backends/disk/memory-disk.ts', 'MemoryDisk', () => ({})],
  ['devices/virtio/console/console.ts', 'ConsoleDevice', () => ({ terminal: { print: log }, keys: Uint8Array.of(10) })],
  ['devices/virtio/input/input.ts', 'InputDevice', () => ({ ...eventCodes, KEY_A: 30, description })],
  ['devices/virtio/entropy/entropy.ts', 'EntropyDevice', () => ({})],
  ['devices/virtio/net/net.ts', 'NetDevice', () => ({ frame: new Uint8Array(60) })],
]

const AsyncFunction = (async () => {}).constructor as new (...code: string[]) => (...given: unknown[]) => Promise<void>

for (const [file, name, given] of EXAMPLES) {
  test(`the example of ${name} runs as it stands`, async () => {
    const scope = { ...outboard, ...testing, ...given() }
    const run = new AsyncFunction(...Object.keys(scope), `'use strict'\n${exampleOf(file, name)}`)
    await run(...Object.values(scope))
  })
}
