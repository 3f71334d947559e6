import { InvalidArgumentError, Option } from 'commander'
import { PasstPort } from '../../backends/net/passt-port.ts'
import { PasstProcess, passtOptions } from '../../backends/net/passt-process.ts'
import { TapPort } from '../../backends/net/tap-port.ts'
import { parseMacAddress } from '../../devices/virtio/net/mac-address.ts'
import { NetDevice } from '../../devices/virtio/net/net.ts'
import type { NetworkPort } from '../../services/network-port.ts'
import { MAX_MTU, MIN_MTU } from '../../services/packet.ts'
import { UsageError } from '../exit-code.ts'
import { wholeNumber } from '../run/run-options.ts'
import type { BackEnd, BackEndHost } from './back-end.ts'
import { LogLevel } from './log.ts'

/** Pairs one interface can have: the kernel's limit. */
const MAX_PAIRS = 256

interface NetOptions {
  readonly tap?: string
  readonly queuePairs?: number
  /** With options of its own, or true. */
  readonly passt?: string | true
  readonly passtSocket?: string
  readonly mac?: string
  readonly mtu?: number
}

const EXAMPLES = `\
  outboard device net --socket-path=net.sock --passt                       the host's network, without root
  outboard device net --socket-path=net.sock --passt='-t 2222:22'          and the host's port 2222 is the guest's 22
  outboard device net --socket-path=net.sock --tap tap0                    an interface of the host
  outboard device net --socket-path=net.sock --tap tap0 --queue-pairs 2    with a pair of queues for each processor
QEMU: -chardev socket,id=net,path=net.sock -netdev vhost-user,id=net,chardev=net -device virtio-net-pci,netdev=net,disable-legacy=on
and memory that is shared; docs/devices/net.md has whole command lines.`

export const netBackEnd: BackEnd<NetOptions> = {
  name: 'net',
  summary: 'an Ethernet card, on an interface of the host or on passt',
  type: 'net',
  features: [],
  options: [
    new Option('--tap <name>', 'a TAP interface; one that is not there comes to be, as root'),
    new Option('--queue-pairs <number>', 'queues of the TAP interface, each to send and to receive').argParser(
      wholeNumber(1, MAX_PAIRS),
    ),
    new Option('--passt [options]', 'start passt, which needs no root, with more options of its own'),
    new Option('--passt-socket <path>', 'a passt that runs, or whatever speaks -netdev stream of QEMU'),
    new Option('--mac <address>', 'the address of the card; QEMU gives its own (default: a random one)').argParser(
      macAddress,
    ),
    new Option('--mtu <bytes>', 'the largest payload of a frame (default: that of the interface)').argParser(
      wholeNumber(MIN_MTU, MAX_MTU),
    ),
  ],
  examples: EXAMPLES,
  async make(options, host) {
    const plug = await plugIn(options, host)
    const { mac, mtu } = options
    const device = new NetDevice(plug.port, { ...(mac !== undefined && { mac }), ...(mtu !== undefined && { mtu }) })
    return {
      device,
      network: { announce: (address) => device.sendRarp(address), setMtu: (bytes) => device.setMtu(bytes) },
      close: () => plug.close(),
    }
  },
}

/** A port, and what ends with it. */
interface Plug {
  readonly port: NetworkPort
  close(): void | Promise<void>
}

async function plugIn(options: NetOptions, host: BackEndHost): Promise<Plug> {
  const { tap, passt, passtSocket, queuePairs } = options
  if ([tap, passt, passtSocket].filter((way) => way !== undefined).length !== 1) {
    throw new UsageError('name one network: --tap NAME, --passt or --passt-socket PATH')
  }
  if (tap !== undefined) return openTap(tap, options, host)
  if (queuePairs !== undefined) throw new UsageError('--queue-pairs is for --tap: passt has one pair')
  return passtSocket !== undefined ? connect(passtSocket, host) : await startPasst(options, host)
}

function openTap(name: string, { queuePairs = 1, mtu }: NetOptions, { reactor, log }: BackEndHost): Plug {
  const port = TapPort.open({ name, pairs: queuePairs, log: (line) => log(LogLevel.WARNING, line) }, reactor)
  if (mtu !== undefined && mtu > port.mtu) {
    port.close()
    throw new UsageError(
      `interface ${port.name} carries ${port.mtu} bytes: as root: ip link set ${port.name} mtu ${mtu}`,
    )
  }
  return { port, close: () => port.close() }
}

function connect(path: string, { reactor, log }: BackEndHost): Plug {
  const port = PasstPort.connect({ path, log: (line) => log(LogLevel.INFO, line) }, reactor)
  return { port, close: () => port.close() }
}

async function startPasst({ passt, mtu }: NetOptions, host: BackEndHost): Promise<Plug> {
  const words = typeof passt === 'string' ? passtOptions(passt) : []
  // It tells the guest too, in what it answers to DHCP.
  if (mtu !== undefined) words.push(`--mtu=${mtu}`)
  const child = await PasstProcess.start({ options: words, log: (line) => host.log(LogLevel.ERROR, line) })
  const { port } = connect(child.path, host)
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
    throw new InvalidArgumentError(error instanceof Error ? `${error.message}.` : '')
  }
}
