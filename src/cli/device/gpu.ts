import { InvalidArgumentError, Option } from 'commander'
import { GuestBuffers } from '../../backends/buffers/guest-buffers.ts'
import { HeapFiles, HUGE_PAGE } from '../../backends/buffers/heap-files.ts'
import { DisplayFanout } from '../../devices/virtio/gpu/display-fanout.ts'
import { type GpuOptions as DeviceOptions, GpuDevice } from '../../devices/virtio/gpu/gpu.ts'
import { MAX_SCANOUTS } from '../../devices/virtio/gpu/protocol.ts'
import { GpuHeap } from '../../devices/virtio/gpu/resources/heap.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import { limitedLog } from '../../log/limited-log.ts'
import { ViewerDisplay } from '../../machine/viewer-display.ts'
import type { Display } from '../../services/display.ts'
import type { FrameServer } from '../../sharing/frames/frame-server.ts'
import { BufferObjects } from '../../transport/vhost-user/buffer-objects.ts'
import { FrontEndDisplay } from '../../transport/vhost-user/gpu/front-end-display.ts'
import { UsageError } from '../exit-code.ts'
import { wholeNumber } from '../run/run-options.ts'
import type { BackEnd, BackEndHost, ServedDevice } from './back-end.ts'
import { LogLevel } from './log.ts'
import type { ServeOptions } from './serve.ts'
import { socketProblem } from './socket.ts'

/** A screen until its viewer asks for another size. */
const SCREEN = { width: 1024, height: 768 }
const MAX_FEATURE_BIT = 127
const MAX_USER_ID = 0xffff_fffe

const HEAP_PAGES = { '4K': 4 << 10, '2M': HUGE_PAGE } as const

interface GpuOptions {
  readonly blob: boolean
  readonly transport: ServeOptions['transport']
  /** Bytes. */
  readonly heap?: number
  readonly heapPages?: keyof typeof HEAP_PAGES
  readonly guestHandleBit?: number
  readonly export?: string
  readonly exportMemory?: boolean
  readonly exportUser?: readonly number[]
}

export const gpuBackEnd: BackEnd<GpuOptions> = {
  name: 'gpu',
  summary: 'screens, shown by the front-end: vhost-user-gpu-pci of QEMU',
  type: 'gpu',
  features: [],
  options: [
    new Option('--no-blob', 'the guest copies each frame, rather than showing its own pages'),
    new Option(
      '--heap <size>',
      'graphics memory that the guest maps, such as 256M: for --transport vfio-user',
    ).argParser(parseHeapSize),
    new Option('--heap-pages <size>', 'of what pages the heap is (default: 4K)').choices(Object.keys(HEAP_PAGES)),
    new Option('--export <path>', 'give screens and buffers to programs that connect to this socket: outboard frames'),
    new Option(
      '--export-memory',
      'also buffers that are no dma-bufs: with them programs get all of the guest’s memory',
    ),
    new Option('--export-user <id>', 'another user whose programs may connect; repeat for more').argParser(addUser),
    new Option(
      '--guest-handle-bit <number>',
      'offer CREATE_GUEST_HANDLE, which is not in the specification yet, as this feature bit',
    ).argParser(wholeNumber(0, MAX_FEATURE_BIT)),
  ],
  async make(options, host) {
    check(options)
    const closers: (() => void)[] = []
    const close = (): void => {
      for (const one of closers.splice(0).reverse()) one()
    }
    try {
      return { ...(await compose(options, host, closers)), close }
    } catch (error) {
      close()
      throw error
    }
  },
}

function check({ blob, transport, heap, heapPages, guestHandleBit, ...exported }: GpuOptions): void {
  if (heap === undefined) {
    if (heapPages !== undefined) throw new UsageError('--heap-pages needs a --heap')
  } else {
    if (!blob) throw new UsageError('a heap is made of blobs: --heap needs them')
    if (transport !== 'vfio-user') throw new UsageError('a guest maps a heap over vfio-user: --transport=vfio-user')
    if (heap % HEAP_PAGES[heapPages ?? '4K'] !== 0)
      throw new UsageError('a heap is whole pages: with 2M an even number')
  }
  if (guestHandleBit !== undefined && !blob) throw new UsageError('handles are of blobs: --guest-handle-bit needs them')
  if (exported.export !== undefined) return
  if (exported.exportMemory) throw new UsageError('--export-memory needs an --export')
  if (exported.exportUser) throw new UsageError('--export-user needs an --export')
}

/** @param closers gets what ends each part, as they come to be */
async function compose(options: GpuOptions, host: BackEndHost, closers: (() => void)[]): Promise<ServedDevice> {
  const { blob, guestHandleBit } = options
  const log = limitedLog((line) => host.log(LogLevel.INFO, line))
  const sharing = GuestBuffers.open({ log })
  closers.push(() => sharing.close())
  const frames = await exportFrames(options, sharing, host)
  if (frames) closers.push(() => frames.close())
  const device: DeviceOptions = {
    blob,
    sharing,
    ...(guestHandleBit !== undefined && { guestHandleFeature: guestHandleBit }),
    ...heapOf(options, closers),
  }
  return {
    ...screensOf(device, host, frames, options.transport),
    objects: new BufferObjects(sharing, log),
    inspect: () => ({ buffers: sharing.inspect(), exported: frames?.inspect() ?? null }),
  }
}

function heapOf({ heap, heapPages }: GpuOptions, closers: (() => void)[]): Pick<DeviceOptions, 'heap'> {
  if (heap === undefined) return {}
  const files = HeapFiles.create(heap, HEAP_PAGES[heapPages ?? '4K'])
  closers.push(() => files.close())
  return { heap: new GpuHeap(files) }
}

async function exportFrames(
  options: GpuOptions,
  buffers: GuestBuffers,
  { reactor, log }: BackEndHost,
): Promise<FrameServer | undefined> {
  const { export: path, exportMemory = false, exportUser = [] } = options
  if (path === undefined) return undefined
  const { FrameServer } = await import('../../sharing/frames/frame-server.ts')
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

function screensOf(
  options: DeviceOptions,
  host: BackEndHost,
  frames: FrameServer | undefined,
  transport: ServeOptions['transport'],
): ServedDevice {
  if (host.report) return screenOfMachine(options, host.report, frames)
  // Over vfio-user there is no other display.
  if (frames && transport === 'vfio-user') return { device: createDevice(frames, { ...options, scanouts: [SCREEN] }) }
  return screensOfFrontEnd(options, host, frames)
}

/** A screen for the page of the machine that this process is a part of. */
function screenOfMachine(
  options: DeviceOptions,
  report: NonNullable<BackEndHost['report']>,
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
  { reactor, log }: BackEndHost,
  frames: FrameServer | undefined,
): ServedDevice {
  const scanouts = Array.from({ length: MAX_SCANOUTS }, () => SCREEN)
  const wishes = scanouts.map((size, index) => (index === 0 ? size : undefined))
  const display = new FrontEndDisplay(
    reactor,
    wishes,
    limitedLog((line) => log(LogLevel.INFO, line)),
  )
  return { device: createDevice(beside(display, frames), { ...options, scanouts }), screen: display }
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

const UNITS: Readonly<Record<string, number>> = { K: 1 << 10, M: 1 << 20, G: 1 << 30 }

/** Megabytes or gigabytes, as people say them. */
function parseHeapSize(text: string): number {
  const [, digits, unit] = /^(\d+)([KMG])$/i.exec(text) ?? []
  const size = digits === undefined ? 0 : Number(digits) * UNITS[unit.toUpperCase()]
  if (size < HeapFiles.LEAST || size > HeapFiles.MOST || size % HeapFiles.LEAST !== 0) {
    throw new InvalidArgumentError('Give 1M to 1G, whole megabytes.')
  }
  return size
}

const parseUser = wholeNumber(0, MAX_USER_ID)

function addUser(text: string, users: readonly number[] = []): number[] {
  return [...users, parseUser(text)]
}
