import { PasstPort } from '../backends/net/passt-port.ts'
import { PasstProcess, passtOptions } from '../backends/net/passt-process.ts'
import { TapPort } from '../backends/net/tap-port.ts'
import { parseMacAddress } from '../devices/virtio/net/mac-address.ts'
import { NetDevice } from '../devices/virtio/net/net.ts'
import { LogLevel } from '../log/device-log.ts'
import type { NetworkPort } from '../services/network-port.ts'
import { MAX_MTU, MIN_MTU } from '../services/packet.ts'
import { UsageError } from '../services/usage-error.ts'
import { networkExtension } from '../transport/vhost-user/network-extension.ts'
import { DeviceId } from '../virtio/device-id.ts'
import { type DeviceHost, deviceKind } from './device-kind.ts'
import { integer, type OptionValues, optionalText, parsed, text } from './options.ts'

/** Maximum number of queue pairs of an interface: the kernel's limit. */
const MAX_PAIRS = 256

const OPTIONS = {
  tap: text('name', 'TAP interface; created if it does not exist, which needs root'),
  queuePairs: parsed(
    'number',
    'queue pairs of the TAP interface, each to send and to receive (default: 1)',
    integer(1, MAX_PAIRS),
  ),
  passt: optionalText('options', 'start passt, which needs no root; with options for it'),
  passtSocket: text('path', 'socket of a running passt, or of anything that speaks -netdev stream of QEMU'),
  mac: parsed('address', 'address of the card; QEMU gives its own (default: a random one)', macAddress),
  mtu: parsed('bytes', 'largest payload of a frame (default: that of the interface)', integer(MIN_MTU, MAX_MTU)),
}
type NetOptions = OptionValues<typeof OPTIONS>

export const netKind = deviceKind({
  name: 'net',
  id: DeviceId.NETWORK,
  summary: 'an Ethernet card, on a TAP interface or on passt',
  options: OPTIONS,
  examples: `\
  outboard device net --socket-path=net.sock --passt                       the host's network, without root
  outboard device net --socket-path=net.sock --passt='-t 2222:22'          with port 2222 of the host as port 22 of the guest
  outboard device net --socket-path=net.sock --tap tap0                    an interface of the host
  outboard device net --socket-path=net.sock --tap tap0 --queue-pairs 2    with one queue pair for each processor
QEMU: -chardev socket,id=net,path=net.sock -netdev vhost-user,id=net,chardev=net -device virtio-net-pci,netdev=net,disable-legacy=on
with shared memory; docs/devices/net.md has whole command lines.`,
  open: openConnection,
  build({ port }, { mac, mtu }) {
    const device = new NetDevice(port, { ...(mac !== undefined && { mac }), ...(mtu !== undefined && { mtu }) })
    return {
      device,
      extension: networkExtension({
        announce: (address) => device.sendRarp(address),
        setMtu: (bytes) => device.setMtu(bytes),
      }),
    }
  },
  close: (connection) => connection.close(),
  vhostUser: { type: 'net' },
  // Without the ROM of QEMU's that looks for something to boot on the network.
  qemu: {
    driver: 'virtio-net-pci',
    netdev: true,
    properties: ['disable-legacy=on', 'romfile='],
    repeats: { mac: 'mac' },
    bootOrder: 2,
  },
  guestModules: ['virtio_net'],
})

/** Port, and the end of what serves it. */
interface Connection {
  readonly port: NetworkPort
  close(): void | Promise<void>
}

async function openConnection(options: NetOptions, { reactor, log }: DeviceHost): Promise<Connection> {
  const { tap, passt, passtSocket, queuePairs } = options
  if ([tap, passt, passtSocket].filter((way) => way !== undefined).length !== 1) {
    throw new UsageError('name one network: --tap NAME, --passt or --passt-socket PATH')
  }
  if (!reactor) throw new UsageError('a network card needs a device process: --engine qemu')
  const host = { reactor, log }
  if (tap !== undefined) return openTap(tap, options, host)
  if (queuePairs !== undefined) throw new UsageError('--queue-pairs is for --tap: passt has one pair')
  return passtSocket !== undefined ? connectPasst(passtSocket, host) : await startPasst(options, host)
}

/** Environment of a port: a device process. */
type PortHost = Required<Pick<DeviceHost, 'reactor' | 'log'>>

function openTap(name: string, { queuePairs = 1, mtu }: NetOptions, { reactor, log }: PortHost): Connection {
  const port = TapPort.open({ name, pairs: queuePairs, log: (line) => log(LogLevel.WARNING, line) }, reactor)
  if (mtu !== undefined && mtu > port.mtu) {
    port.close()
    throw new UsageError(
      `interface ${port.name} carries ${port.mtu} bytes: as root: ip link set ${port.name} mtu ${mtu}`,
    )
  }
  return { port, close: () => port.close() }
}

function connectPasst(path: string, { reactor, log }: PortHost): Connection {
  const port = PasstPort.connect({ path, log: (line) => log(LogLevel.INFO, line) }, reactor)
  return { port, close: () => port.close() }
}

async function startPasst({ passt, mtu }: NetOptions, host: PortHost): Promise<Connection> {
  const words = typeof passt === 'string' ? passtOptions(passt) : []
  // passt announces the MTU to the guest in its DHCP answers.
  if (mtu !== undefined) words.push(`--mtu=${mtu}`)
  const child = await PasstProcess.start({ options: words, log: (line) => host.log(LogLevel.ERROR, line) })
  const { port } = connectPasst(child.path, host)
  return {
    port,
    close() {
      port.close()
      return child.stop()
    },
  }
}

function macAddress(text: string): string {
  try {
    parseMacAddress(text)
    return text
  } catch (error) {
    throw error instanceof Error ? new UsageError(`${error.message}.`) : error
  }
}
