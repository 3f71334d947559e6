import { Option } from 'commander'
import { GpuDevice } from '../devices/gpu/gpu.ts'
import { MAX_SCANOUTS } from '../devices/gpu/protocol.ts'
import { FrontEndDisplay } from '../engines/guest/front-end-display.ts'
import type { Report } from '../engines/guest/messages.ts'
import { ViewerDisplay } from '../engines/guest/viewer-display.ts'
import type { BackEnd, BackEndHost, ServedDevice } from './device-back-end.ts'
import { LogLevel } from './device-log.ts'

/** A screen until its viewer asks for another size. */
const SCREEN = { width: 1024, height: 768 }

interface GpuOptions {
  readonly blob: boolean
}

export const gpuBackEnd: BackEnd<GpuOptions> = {
  name: 'gpu',
  summary: 'screens, shown by the front-end: vhost-user-gpu-pci of QEMU',
  type: 'gpu',
  features: [],
  options: [new Option('--no-blob', 'the guest copies each frame, rather than showing its own pages')],
  make: ({ blob }, host) => (host.report ? screenOfMachine(blob, host.report) : screensOfFrontEnd(blob, host)),
}

/** A screen for the page of the machine that this process is a part of. */
function screenOfMachine(blob: boolean, report: (report: Report) => void): ServedDevice {
  const display = new ViewerDisplay({
    mode: (scanout, mode) => report({ type: 'mode', scanout, mode }),
    damage: (scanout, rects) => report({ type: 'damage', scanout, rects }),
    cursor: (scanout, cursor) => report({ type: 'cursor', scanout, cursor }),
  })
  const device = new GpuDevice(display, { scanouts: [SCREEN], blob })
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
function screensOfFrontEnd(blob: boolean, { reactor, log }: BackEndHost): ServedDevice {
  const scanouts = Array.from({ length: MAX_SCANOUTS }, () => SCREEN)
  const wishes = scanouts.map((size, index) => (index === 0 ? size : undefined))
  const display = new FrontEndDisplay(reactor, wishes, (line) => log(LogLevel.INFO, line))
  return { device: new GpuDevice(display, { scanouts, blob }), screen: display }
}
