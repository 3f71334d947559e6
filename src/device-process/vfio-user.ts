import type { Reactor } from '../host/linux/reactor/reactor.ts'
import { limitedLog } from '../log/limited-log.ts'
import type { PeerSource } from '../transport/socket/accept-loop.ts'
import { serveVfioUser } from '../transport/vfio-user/vfio-user-server.ts'
import { VirtioPciFunction } from '../transport/virtio-pci/virtio-pci-function.ts'
import type { VirtioDevice } from '../virtio/device.ts'
import type { DeviceServer } from './device-server.ts'

/** Serves a device as a PCI function over vfio-user. */
export function startVfioUserServer(
  device: VirtioDevice,
  socket: PeerSource,
  reactor: Reactor,
  log: (line: string) => void,
): DeviceServer {
  let inspect: DeviceServer['inspect'] | undefined
  const server = serveVfioUser(
    (bus, memory) => {
      const pci = new VirtioPciFunction(device, bus, { memory, log: limitedLog(log) })
      inspect = () => pci.inspect()
      return pci
    },
    socket,
    reactor,
    { log },
  )
  if (!inspect) throw new Error('serveVfioUser created no function')
  return { closed: server.closed, inspect, close: () => server.close() }
}
