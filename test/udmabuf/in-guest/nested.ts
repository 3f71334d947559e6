import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { GuestBuffersInspection } from '../../../src/backends/buffers/guest-buffers.ts'
import { memfd, PAGE, pagesOf } from '../../../src/backends/buffers/testing/test-memory.ts'
import { gpuKind } from '../../../src/catalogue/gpu.ts'
import type { GpuInspection } from '../../../src/devices/virtio/gpu/gpu.ts'
import { qemuArguments } from '../../../src/engines/qemu/arguments.ts'
import { Udmabuf } from '../../../src/host/linux/udmabuf/udmabuf.ts'
import type { Report } from '../../../src/machine/messages.ts'
import { FrameClient } from '../../../src/sharing/frames/frame-client.ts'
import { type NestedGuest, SCREEN } from '../nested-guest.ts'
import { DrmDevice } from './drm-device.ts'
import { allBuffers } from './kernel.ts'
import { LineSource } from './line-source.ts'

const MAIN = fileURLToPath(new URL('../../../src/cli/main.js', import.meta.url))
const MEMORY_MIB = 256

const { program, boot, images }: NestedGuest = JSON.parse(process.env['NESTED_GUEST'] ?? '')
const begin = performance.now()

function seconds(): number {
  return Math.round((performance.now() - begin) / 100) / 10
}

function progress(what: string): void {
  process.stdout.write(`${seconds()} s: ${what}\n`)
}

/** Starts `outboard device gpu` with an export socket. */
async function startGpu(socket: string, exported: string): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [MAIN, 'device', 'gpu', '--transport=vfio-user', `--socket-path=${socket}`, `--export=${exported}`],
    { stdio: ['ignore', 'inherit', 'pipe', 'ipc'], serialization: 'advanced' },
  )
  assert.ok(child.stderr)
  const lines = new LineSource(child.stderr, progress)
  await lines.until(/\bready, on /)
  return child
}

async function inspect(gpu: ChildProcess): Promise<GpuInspection & { readonly buffers: GuestBuffersInspection }> {
  gpu.send({ type: 'inspect', id: 1 })
  for (;;) {
    const [report]: Report[] = await once(gpu, 'message')
    if (report.type === 'inspection') return report.inspection.devices[0].state as Awaited<ReturnType<typeof inspect>>
  }
}

function startQemu(socket: string): ChildProcess {
  const machine = qemuArguments({
    ...{ accelerator: 'tcg', memoryMiB: MEMORY_MIB, boot },
    devices: [{ id: 'gpu', kind: gpuKind, transport: 'vfio-user', socket }],
  })
  const child = spawn(program.command, [...program.args, ...machine], {
    env: { ...process.env, ...program.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  if (child.stderr) createInterface(child.stderr).on('line', (line) => progress(`QEMU: ${line}`))
  return child
}

/** Measures the time to create a buffer of as many pieces, because the GPU's process created its own earlier. */
function millisecondsToCreate(bytes: number, pieces: number): number {
  const piece = Math.floor(bytes / PAGE / pieces)
  const file = memfd(pieces * (piece + 1) * PAGE)
  const list = Array.from({ length: pieces }, (_, i) => pagesOf(file, i * (piece + 1), piece))
  const udmabuf = Udmabuf.open()
  const before = performance.now()
  udmabuf.create(list, 'a buffer of as many pieces').close()
  const took = performance.now() - before
  file.close()
  udmabuf.close()
  return took
}

test('the framebuffer of an unmodified guest is a dma-buf that another driver imports', async () => {
  const [socket, exported] = ['gpu.sock', 'frames.sock'].map((name) => path.join(tmpdir(), name))
  const vgem = new DrmDevice('platform/vgem')
  const gpu = await startGpu(socket, exported)
  const client = await FrameClient.connect(exported)
  const frames = client.frames()
  const next = async () => {
    const { value } = await frames.next()
    assert.ok(value)
    value.acknowledge()
    return value
  }
  const qemu = startQemu(socket)
  try {
    assert.ok(qemu.stdin && qemu.stdout)
    const inner = new LineSource(qemu.stdout, (line) => progress(`the guest: ${line}`))
    await inner.until(/^Linux /)
    const booted = seconds()
    assert.match(await inner.until(/features: .*resource_blob/), /-virgl/)
    assert.equal(await inner.until(/^screen of /), `screen of ${SCREEN.width},${SCREEN.height} at 32`)
    await inner.until(/^drawn first/)
    const drawn = seconds()

    let frame = await next()
    while (frame.picture.width !== SCREEN.width) frame = await next()
    const { buffer, picture } = frame
    const size = SCREEN.width * SCREEN.height * 4
    assert.deepEqual([buffer.kind, buffer.byteLength], ['dma-buf', size])
    assert.deepEqual([picture.height, picture.planes], [SCREEN.height, [{ offset: 0, stride: SCREEN.width * 4 }]])
    const before = performance.now()
    const handle = vgem.import(buffer)
    const imported = performance.now() - before
    const back = vgem.export(handle)
    const [first, second] = images.map((file) => readFileSync(file))
    assert.ok(first.equals(back.bytes), 'the other driver must have the first image')
    progress('the other driver has the first image')

    const requested = Number(process.hrtime.bigint())
    qemu.stdin.write('next\n')
    await inner.until(/^drawn second/)
    while (frame.time < requested) frame = await next()
    assert.equal(frame.buffer, buffer)
    assert.ok(second.equals(back.bytes), 'the other driver must have the second image')
    progress('the other driver has the second image, in the same buffer')
    const { scanouts, buffers, errors } = await inspect(gpu)
    assert.deepEqual([scanouts[0].path, scanouts[0].bytesRead, errors], ['dma-buf', 0, {}])
    const { name, kind, spans, pieces } = buffers.buffers[0]
    // All flushes used one buffer.
    assert.deepEqual([buffers.made.buffers, name, kind], [1, buffer.name, 'dma-buf'])

    buffer.keep()
    qemu.stdin.write('end\n')
    const [status] = await once(qemu, 'exit')
    assert.equal(status, 0)
    gpu.kill()
    await once(gpu, 'exit')
    assert.ok(second.equals(back.bytes), 'the importer must keep the second image')
    const pages = size / PAGE
    const figures = {
      ...{ size, pages, spans, pieces, merged: 1 - pieces / pages, flushes: scanouts[0].flushes },
      ...{ secondsToBoot: booted, secondsToDraw: drawn, seconds: seconds() },
      ...{ millisecondsToCreate: millisecondsToCreate(size, pieces), millisecondsToImport: imported },
    }
    client.close()
    vgem.closeHandle(handle)
    back.close()
    assert.equal(allBuffers().count, 0)
    process.stdout.write(`${JSON.stringify(figures)}\n`)
  } finally {
    for (const child of [qemu, gpu]) child.kill('SIGKILL')
    client.close()
    vgem.close()
  }
})
