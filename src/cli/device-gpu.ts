import { InvalidArgumentError, Option } from 'commander'
import { type GpuOptions as DeviceOptions, GpuDevice } from '../devices/gpu/gpu.ts'
import { GpuHeap } from '../devices/gpu/heap.ts'
import { MAX_SCANOUTS } from '../devices/gpu/protocol.ts'
import { FrontEndDisplay } from '../engines/guest/front-end-display.ts'
import type { Report } from '../engines/guest/messages.ts'
import { ViewerDisplay } from '../engines/guest/viewer-display.ts'
import { HeapFiles } from '../host/linux/heap-files.ts'
import type { BackEnd, BackEndHost, ServedDevice } from './device-back-end.ts'
import { LogLevel } from './device-log.ts'
import type { ServeOptions } from './device-serve.ts'
import { UsageError } from './exit-code.ts'

/** A screen until its viewer asks for another size. */
const SCREEN = { width: 1024, height: 768 }

interface GpuOptions {
  readonly blob: boolean
  readonly transport: ServeOptions['transport']
  /** Bytes. */
  readonly heap?: number
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
  ],
  make(options, host) {
    const { blob } = options
    if (options.heap === undefined) return make({ blob }, host)
    if (!blob) throw new UsageError('a heap is made of blobs: --heap needs them')
    if (options.transport !== 'vfio-user')
      throw new UsageError('a guest maps a heap over vfio-user: --transport=vfio-user')
    const files = HeapFiles.create(options.heap)
    return { ...make({ blob, heap: new GpuHeap(files) }, host), close: () => files.close() }
  },
}

function make(options: DeviceOptions, host: BackEndHost): ServedDevice {
  return host.report ? screenOfMachine(options, host.report) : screensOfFrontEnd(options, host)
}

/** A screen for the page of the machine that this process is a part of. */
function screenOfMachine(options: DeviceOptions, report: (report: Report) => void): ServedDevice {
  const display = new ViewerDisplay({
    mode: (scanout, mode) => report({ type: 'mode', scanout, mode }),
    damage: (scanout, rects) => report({ type: 'damage', scanout, rects }),
    cursor: (scanout, cursor) => report({ type: 'cursor', scanout, cursor }),
  })
  const device = new GpuDevice(display, { ...options, scanouts: [SCREEN] })
  return {
    device,
    obey(command) {
      if (command.type === 'resize') device.resize(command.scanout, command.width, command.height)
      else if (command.type === 'damage-taken') display.taken(command.scanout)
      else if (command.type === 'read-pixels') {
        report({ type: 'pixels', id: command.id, pixels: display.read(command.scanout, command.rect) })
      }
    },
  }
}

/** As many screens as there can be: how many the guest is told of, and which are on, is for the front-end to say. */
function screensOfFrontEnd(options: DeviceOptions, { reactor, log }: BackEndHost): ServedDevice {
  const scanouts = Array.from({ length: MAX_SCANOUTS }, () => SCREEN)
  const wishes = scanouts.map((size, index) => (index === 0 ? size : undefined))
  const display = new FrontEndDisplay(reactor, wishes, (line) => log(LogLevel.INFO, line))
  return { device: new GpuDevice(display, { ...options, scanouts }), screen: display }
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
