import { Option } from 'commander'
import { GpuDevice } from '../devices/gpu/gpu.ts'
import { ViewerDisplay } from '../engines/guest/viewer-display.ts'
import type { BackEnd } from './device-back-end.ts'
import { UsageError } from './exit-code.ts'

/** The screen until the viewer asks for another size. */
const SCREEN = { width: 1024, height: 768 }

interface GpuOptions {
  readonly blob: boolean
}

export const gpuBackEnd: BackEnd<GpuOptions> = {
  name: 'gpu',
  summary: 'a screen, shown by the machine that `outboard run` made it for',
  type: 'gpu',
  features: [],
  options: [new Option('--no-blob', 'the guest copies each frame, rather than showing its own pages')],
  make({ blob }, { report }) {
    if (!report)
      throw new UsageError('a screen of its own is not there yet: start it through outboard run --engine qemu')
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
  },
}
