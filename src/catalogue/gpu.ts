import { GuestBuffers } from '../backends/buffers/guest-buffers.ts'
import { HeapFiles, HUGE_PAGE } from '../backends/buffers/heap-files.ts'
import { DisplayFanout } from '../devices/virtio/gpu/display-fanout.ts'
import { type GpuOptions as DeviceOptions, GpuDevice } from '../devices/virtio/gpu/gpu.ts'
import { MAX_SCANOUTS } from '../devices/virtio/gpu/protocol.ts'
import { GpuHeap } from '../devices/virtio/gpu/resources/heap.ts'
import { socketProblem } from '../host/linux/socket-problem.ts'
import { SystemCallError } from '../host/linux/system-call-error.ts'
import { LogLevel } from '../log/device-log.ts'
import { limitedLog } from '../log/limited-log.ts'
import { ViewerDisplay } from '../machine/viewer-display.ts'
import type { Display } from '../services/display.ts'
import { UsageError } from '../services/usage-error.ts'
import type { FrameServer } from '../sharing/frames/frame-server.ts'
import { BufferObjects } from '../transport/vhost-user/buffer-objects.ts'
import { FrontEndDisplay } from '../transport/vhost-user/gpu/front-end-display.ts'
import { gpuExtension } from '../transport/vhost-user/gpu/gpu-extension.ts'
import { DeviceId } from '../virtio/device-id.ts'
import { type DeviceHost, deviceKind, type ServedDevice } from './device-kind.ts'
import { byteSize, choice, flag, integer, list, type OptionValues, parsed, text, unless } from './options.ts'

/** Size of a scanout until its viewer asks for another one. */
const SCREEN = { width: 1024, height: 768 }
const MAX_FEATURE_BIT = 127
const MAX_USER_ID = 0xffff_fffe

const HEAP_PAGES = { '4K': 4 << 10, '2M': HUGE_PAGE } as const

const OPTIONS = {
  blob: unless('offer no blob resources: the guest copies each frame, and its pages are not shown in place'),
  heap: parsed('size', 'graphics memory that the guest maps, such as 256M; needs --transport=vfio-user', parseHeapSize),
  heapPages: choice(['4K', '2M'], 'page size of the heap (default: 4K)'),
  export: text('path', 'socket at which programs receive screens and buffers: outboard frames'),
  exportMemory: flag('export buffers that are not dma-bufs, too: programs then receive all of the guest’s memory'),
  exportUser: list('id', 'another user whose programs may connect; may be repeated', integer(0, MAX_USER_ID)),
  guestHandleBit: parsed(
    'number',
    'feature bit at which CREATE_GUEST_HANDLE is offered, which is not in the specification yet',
    integer(0, MAX_FEATURE_BIT),
  ),
}
type GpuOptions = OptionValues<typeof OPTIONS>

/** What `open` leaves: the host side of buffers, if there is a reactor to serve it. */
interface OpenBuffers {
  readonly sharing?: GuestBuffers
  readonly frames?: FrameServer
  readonly heap?: HeapFiles
}

export const gpuKind = deviceKind({
  name: 'gpu',
  id: DeviceId.GPU,
  summary: 'screens without 3D, shown by the front-end (vhost-user-gpu-pci of QEMU) or exported to programs',
  options: OPTIONS,
  examples: `\
  outboard device gpu --socket-path=gpu.sock
  outboard device gpu --socket-path=gpu.sock --export=frames.sock          and in another terminal: outboard frames frames.sock
  outboard device gpu --socket-path=gpu.sock --transport=vfio-user --heap=256M`,
  async open(options, host): Promise<OpenBuffers> {
    check(options, host.transport)
    const { reactor } = host
    if (!reactor) return {}
    const parts: { -readonly [Part in keyof OpenBuffers]: OpenBuffers[Part] } = {}
    try {
      parts.sharing = GuestBuffers.open({ log: limitedLog((line) => host.log(LogLevel.INFO, line)) })
      if (options.export !== undefined) {
        parts.frames = await exportFrames(options.export, options, parts.sharing, { ...host, reactor })
      }
      const { heap, heapPages = '4K' } = options
      if (heap !== undefined) parts.heap = HeapFiles.create(heap, HEAP_PAGES[heapPages])
      return parts
    } catch (error) {
      closeBuffers(parts)
      throw error
    }
  },
  build({ sharing, frames, heap }, { blob, guestHandleBit }, host) {
    const device: DeviceOptions = {
      blob,
      ...(sharing && { sharing }),
      ...(guestHandleBit !== undefined && { guestHandleFeature: guestHandleBit }),
      ...(heap && { heap: new GpuHeap(heap) }),
    }
    const served = screensOf(device, host, frames)
    if (!sharing) return served
    const log = limitedLog((line) => host.log(LogLevel.INFO, line))
    return {
      ...served,
      objects: new BufferObjects(sharing, log),
      inspect: () => ({ buffers: sharing.inspect(), exported: frames?.inspect() ?? null }),
    }
  },
  close: closeBuffers,
  commands: () => ['resize', 'damage-taken', 'read-pixels', 'read-in-place'],
  vhostUser: { type: 'gpu' },
  // The front-end of a machine with a page is the generic one: vhost-user-gpu-pci shows the screen in a window of QEMU's.
  qemu: { generic: { queues: 2, queueSize: 64, configBytes: 20 }, alternatives: ['vhost-user-gpu-pci'] },
  guestModules: ['virtio_gpu'],
  panel: 'gpu',
})

function closeBuffers({ sharing, frames, heap }: OpenBuffers): void {
  heap?.close()
  frames?.close()
  sharing?.close()
}

function check(
  { blob, heap, heapPages, guestHandleBit, ...exported }: GpuOptions,
  transport: DeviceHost['transport'],
): void {
  if (heap === undefined) {
    if (heapPages !== undefined) throw new UsageError('--heap-pages needs --heap')
  } else {
    if (!blob) throw new UsageError('--heap and --no-blob exclude each other: a heap consists of blobs')
    if (transport !== 'vfio-user')
      throw new UsageError('--heap needs --transport=vfio-user, over which a guest maps it')
    if (heap % HEAP_PAGES[heapPages ?? '4K'] !== 0)
      throw new UsageError('--heap must be whole pages: an even number of MiB with --heap-pages=2M')
  }
  if (guestHandleBit !== undefined && !blob)
    throw new UsageError('--guest-handle-bit and --no-blob exclude each other: handles are of blobs')
  if (exported.export !== undefined) return
  if (exported.exportMemory) throw new UsageError('--export-memory needs --export')
  if (exported.exportUser.length > 0) throw new UsageError('--export-user needs --export')
}

async function exportFrames(
  path: string,
  { exportMemory, exportUser }: GpuOptions,
  buffers: GuestBuffers,
  { reactor, log }: Required<Pick<DeviceHost, 'reactor' | 'log'>>,
): Promise<FrameServer> {
  const { FrameServer } = await import('../sharing/frames/frame-server.ts')
  try {
    return FrameServer.listen(path, buffers, reactor, {
      memoryFiles: exportMemory,
      users: exportUser,
      log: (line) => log(LogLevel.INFO, line),
    })
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error
    throw new UsageError(socketProblem(error, path))
  }
}

function screensOf(options: DeviceOptions, host: DeviceHost, frames: FrameServer | undefined): ServedDevice {
  const { report, reactor } = host
  if (report) return screenOfMachine(options, report, frames)
  if (host.transport === 'vfio-user') {
    if (frames) return { device: createDevice(frames, { ...options, scanouts: [SCREEN] }) }
    host.log(LogLevel.WARNING, 'no display: vfio-user does not transport pixels')
  }
  if (!reactor) throw new UsageError('a GPU outside of a machine needs a device process')
  return screensOfFrontEnd(options, { ...host, reactor }, frames)
}

/** A screen for the page of the machine that this process is a part of. */
function screenOfMachine(
  options: DeviceOptions,
  report: NonNullable<DeviceHost['report']>,
  frames: FrameServer | undefined,
): ServedDevice {
  const display = new ViewerDisplay({
    mode: (scanout, mode) => report({ type: 'mode', scanout, mode }),
    damage: (scanout, rects) => report({ type: 'damage', scanout, rects }),
    cursor: (scanout, cursor) => report({ type: 'cursor', scanout, cursor }),
  })
  const device = createDevice(beside(display, frames), { ...options, scanouts: [SCREEN] })
  return {
    device,
    handle(command) {
      if (command.type === 'resize') device.resize(command.scanout, command.width, command.height)
      else if (command.type === 'damage-taken') display.taken(command.scanout)
      else if (command.type === 'read-in-place') display.readInPlace(command.scanout, command.inPlace)
      else if (command.type === 'read-pixels') {
        report({ type: 'pixels', id: command.id, pixels: display.read(command.scanout, command.rect) })
      }
    },
  }
}

/** Maximum number of scanouts: the front-end decides how many the guest has, and which are on. */
function screensOfFrontEnd(
  options: DeviceOptions,
  { reactor, log }: Required<Pick<DeviceHost, 'reactor' | 'log'>>,
  frames: FrameServer | undefined,
): ServedDevice {
  const scanouts = Array.from({ length: MAX_SCANOUTS }, () => SCREEN)
  const preferred = scanouts.map((size, index) => (index === 0 ? size : undefined))
  const display = new FrontEndDisplay(
    reactor,
    preferred,
    limitedLog((line) => log(LogLevel.INFO, line)),
  )
  return { device: createDevice(beside(display, frames), { ...options, scanouts }), extension: gpuExtension(display) }
}

function beside(display: Display, frames: FrameServer | undefined): Display {
  return frames ? new DisplayFanout([display, frames]) : display
}

function createDevice(display: Display, options: DeviceOptions): GpuDevice {
  try {
    return new GpuDevice(display, options)
  } catch (error) {
    // A feature bit that is taken.
    throw error instanceof RangeError ? new UsageError(error.message) : error
  }
}

/** Reads a size such as 256M or 1G. */
function parseHeapSize(text: string): number {
  const size = byteSize(text) ?? 0
  if (size < HeapFiles.MIN_BYTES || size > HeapFiles.MAX_BYTES || size % HeapFiles.MIN_BYTES !== 0) {
    throw new UsageError('Give 1M to 1G, whole megabytes.')
  }
  return size
}
