import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { arpReply, arpSender, type Station, UDP_CHECKSUM, UDP_OFFSET, udpData, udpFrame, udpSource } from './frames.ts'

const SERVER: Station = { mac: '52:54:00:00:00:01', ip: '10.77.0.1' }
const CLIENT_IP = '10.77.0.2'
const EVERYONE: Station = { mac: 'ff:ff:ff:ff:ff:ff', ip: '255.255.255.255' }

const DHCP_SERVER_PORT = 67
const DHCP_CLIENT_PORT = 68
const TFTP_PORT = 69
/** Port from which files are sent. */
const DATA_PORT = 6969

/** Offsets of fields in a DHCP message. @see RFC 2131, 2 */
const Dhcp = { YIADDR: 16, SIADDR: 20, FILE: 108, COOKIE: 236, OPTIONS: 240 } as const
const DhcpOption = { SUBNET_MASK: 1, ROUTER: 3, LEASE: 51, TYPE: 53, SERVER: 54, BOOT_FILE: 67, END: 255 } as const
const DhcpType = { DISCOVER: 1, OFFER: 2, REQUEST: 3, ACK: 5 } as const
const COOKIE = [99, 130, 83, 99]

/** @see RFC 1350, 2347 */
const Tftp = { READ: 1, DATA: 3, ACK: 4, ERROR: 5, OACK: 6 } as const
const NOT_FOUND = 1
const TFTP_BLOCK = 512

/** File that is being sent to a port of the guest. */
interface Transfer {
  readonly name: string
  readonly bytes: Uint8Array
  readonly blockSize: number
}

/**
 * The other station of a network of two: gives the guest an address and, by TFTP, files to boot from. It is where a
 * device process connects to with `--passt-socket`.
 */
export class BootStation {
  /** Names of the files that were sent completely. */
  readonly sent = new Set<string>()
  readonly #transfers = new Map<number, Transfer>()
  readonly #server: Server
  #socket: Socket | undefined

  private constructor(
    /** @param bootFile file that the firmware starts */
    private readonly files: ReadonlyMap<string, Uint8Array>,
    private readonly bootFile: string,
  ) {
    this.#server = createServer((socket) => this.#accept(socket))
  }

  static async listen(path: string, files: ReadonlyMap<string, Uint8Array>, bootFile: string): Promise<BootStation> {
    const station = new BootStation(files, bootFile)
    await once(station.#server.listen(path), 'listening')
    return station
  }

  close(): void {
    this.#socket?.destroy()
    this.#server.close()
  }

  /** Frames are preceded by their length: 4 bytes, most significant first. */
  #accept(socket: Socket): void {
    let rest = Buffer.alloc(0)
    this.#socket = socket
    socket.on('error', () => socket.destroy())
    socket.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes])
      for (let end = 0; rest.length >= 4; rest = rest.subarray(end)) {
        end = 4 + rest.readUInt32BE()
        if (rest.length < end) break
        this.#receive(rest.subarray(4, end))
      }
    })
  }

  #receive(frame: Uint8Array): void {
    const asking = arpSender(frame, SERVER.ip)
    if (asking) this.#send(arpReply(SERVER, asking))
    const dhcp = udpData(frame, DHCP_SERVER_PORT)
    if (dhcp) this.#answerDhcp(dhcp)
    const request = udpData(frame, TFTP_PORT)
    if (request) this.#open(udpSource(frame), request)
    const answer = udpData(frame, DATA_PORT)
    if (answer) this.#goOn(udpSource(frame), answer)
  }

  #answerDhcp(request: Uint8Array): void {
    const type = optionOf(request, DhcpOption.TYPE)
    if (type !== DhcpType.DISCOVER && type !== DhcpType.REQUEST) return
    const ip = (address: string): number[] => address.split('.').map(Number)
    const reply = Buffer.alloc(Dhcp.OPTIONS + 64)
    // Hardware type, transaction and client address are copied from the request.
    reply.set(request.subarray(0, Dhcp.COOKIE))
    reply[0] = 2
    reply.set(ip(CLIENT_IP), Dhcp.YIADDR)
    reply.set(ip(SERVER.ip), Dhcp.SIADDR)
    reply.write(`${this.bootFile}\0`, Dhcp.FILE)
    reply.set(COOKIE, Dhcp.COOKIE)
    const options: [number, number[]][] = [
      [DhcpOption.TYPE, [type === DhcpType.DISCOVER ? DhcpType.OFFER : DhcpType.ACK]],
      [DhcpOption.SERVER, ip(SERVER.ip)],
      [DhcpOption.LEASE, [0, 0, 14, 16]],
      [DhcpOption.SUBNET_MASK, [255, 255, 255, 0]],
      [DhcpOption.ROUTER, ip(SERVER.ip)],
      [DhcpOption.BOOT_FILE, [...Buffer.from(this.bootFile)]],
    ]
    reply.set([...options.flatMap(([code, value]) => [code, value.length, ...value]), DhcpOption.END], Dhcp.OPTIONS)
    this.#sendDatagram(EVERYONE, DHCP_SERVER_PORT, DHCP_CLIENT_PORT, reply)
  }

  #open({ station, port }: ReturnType<typeof udpSource>, request: Uint8Array): void {
    if (request[1] !== Tftp.READ) return
    const [file, , ...words] = Buffer.from(request.subarray(2)).toString('latin1').split('\0')
    const name = file.replace(/^\/+/, '')
    const bytes = this.files.get(name)
    if (!bytes) {
      this.#sendDatagram(station, DATA_PORT, port, Buffer.from([0, Tftp.ERROR, 0, NOT_FOUND, 0]))
      return
    }
    const asked = new Map<string, string>()
    for (let i = 0; i + 1 < words.length; i += 2) asked.set(words[i].toLowerCase(), words[i + 1])
    const blockSize = Math.min(Number(asked.get('blksize') ?? TFTP_BLOCK), 1468)
    this.#transfers.set(port, { name, bytes, blockSize })
    const granted = [
      ...(asked.has('blksize') ? ['blksize', `${blockSize}`] : []),
      ...(asked.has('tsize') ? ['tsize', `${bytes.length}`] : []),
    ]
    const answer = Buffer.from(granted.map((word) => `${word}\0`).join(''))
    if (granted.length > 0) {
      this.#sendDatagram(station, DATA_PORT, port, Buffer.concat([Buffer.from([0, Tftp.OACK]), answer]))
    } else this.#sendBlock(station, port, 1)
  }

  /** Sends the block after an acknowledged one. A client that lost it repeats the acknowledgement. */
  #goOn({ station, port }: ReturnType<typeof udpSource>, answer: Uint8Array): void {
    if (answer[1] === Tftp.ACK) this.#sendBlock(station, port, answer[2] * 256 + answer[3] + 1)
    else this.#transfers.delete(port)
  }

  #sendBlock(station: Station, port: number, number: number): void {
    const transfer = this.#transfers.get(port)
    if (!transfer) return
    const { name, bytes, blockSize } = transfer
    const start = (number - 1) * blockSize
    if (start > bytes.length) {
      this.sent.add(name)
      this.#transfers.delete(port)
      return
    }
    const head = Buffer.from([0, Tftp.DATA, number >> 8, number & 0xff])
    this.#sendDatagram(station, DATA_PORT, port, Buffer.concat([head, bytes.subarray(start, start + blockSize)]))
  }

  #sendDatagram(to: Station, fromPort: number, toPort: number, data: Uint8Array): void {
    const frame = udpFrame(SERVER, to, fromPort, toPort, data)
    // No checksum: that of the pseudo header is only for cards that complete it.
    frame.fill(0, UDP_OFFSET + UDP_CHECKSUM, UDP_OFFSET + UDP_CHECKSUM + 2)
    this.#send(frame)
  }

  #send(frame: Uint8Array): void {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(frame.length)
    this.#socket?.write(Buffer.concat([length, frame]))
  }
}

/** Returns the first byte of an option; undefined if it is missing. */
function optionOf(message: Uint8Array, wanted: number): number | undefined {
  for (let at: number = Dhcp.OPTIONS; at + 2 < message.length && message[at] !== DhcpOption.END; ) {
    if (message[at] === wanted) return message[at + 2]
    at += message[at] === 0 ? 1 : 2 + message[at + 1]
  }
  return undefined
}
