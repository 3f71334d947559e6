import { HoleRelease } from '../backends/memory/hole-release.ts'
import { noRelease } from '../backends/memory/no-release.ts'
import { BalloonDevice } from '../devices/virtio/balloon/balloon.ts'
import { CONFIG_BYTES } from '../devices/virtio/balloon/protocol.ts'
import { LogLevel } from '../log/device-log.ts'
import { UsageError } from '../services/usage-error.ts'
import { DeviceId } from '../virtio/device-id.ts'
import { deviceKind } from './device-kind.ts'
import { byteSize, flag, parsed, unless, withDefault } from './options.ts'

export const balloonKind = deviceKind({
  name: 'balloon',
  id: DeviceId.BALLOON,
  summary: 'a balloon: memory that a running guest gives back to the host',
  options: {
    size: withDefault(parsed('size', 'memory that the guest gives back at first, such as 64M', parseBalloonSize), 0),
    deflateOnOom: flag('let the guest take memory back if it has none left'),
    freePageReporting: unless('offer no free page reporting: free memory of the guest stays allocated on the host'),
  },
  examples: `\
  outboard device balloon --socket-path=balloon.sock --size=256M
Not beside devices that are passed through with VFIO, which pins the memory of the guest: docs/devices/balloon.md`,
  open: () => undefined,
  build(_, { size, deflateOnOom, freePageReporting }, { transport, log }) {
    // The memory of a guest in this process is WebAssembly memory, which does not shrink.
    const memory = transport === 'virtio-pci' ? noRelease : new HoleRelease((line) => log(LogLevel.WARNING, line))
    const device = new BalloonDevice(memory, { size, deflateOnOom, reporting: freePageReporting })
    return {
      device,
      handle(command) {
        if (command.type === 'resize-balloon') device.resize(command.size)
      },
      // The next inspection shows the answer.
      inspect() {
        device.requestStatistics()
        return {}
      },
    }
  },
  commands: () => ['resize-balloon'],
  vhostUser: { type: 'balloon' },
  qemu: { generic: { queues: 5, queueSize: 128, configBytes: CONFIG_BYTES } },
  guestModules: ['virtio_balloon'],
})

function parseBalloonSize(text: string): number {
  const size = byteSize(text)
  if (size === undefined) throw new UsageError('Give a size such as 64M or 2G; 0 for none.')
  return size
}
