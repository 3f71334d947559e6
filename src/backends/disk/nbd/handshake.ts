import { SECTOR_BYTES } from '../../../services/disk.ts'
import { DiskError } from '../disk-error.ts'
import type { Peer } from './peer.ts'
import {
  clientFlags,
  goOption,
  greeting,
  HandshakeFlag,
  Info,
  infoBlockSize,
  infoExport,
  MAX_PAYLOAD,
  Magic,
  NBD_OPT_GO,
  OptionReply,
  optionReply,
  TransmissionFlag,
} from './protocol.ts'

/** More than any answer to one option needs: replies, and bytes in one of them. */
const MAX_REPLIES = 64
const MAX_REPLY_BYTES = 8192

/** What a server says of what it exports, checked. */
export interface NbdExport {
  /** A multiple of 512. */
  readonly byteLength: number
  readonly readOnly: boolean
  readonly canDiscard: boolean
  /** The longest request, a multiple of 512. */
  readonly mostBytes: number
}

/**
 * Speaks with a server until it serves its export without a name. The server is not asked for block sizes, so that it has
 * to serve requests of any size, whatever its host wants. @nbd Block size constraints
 *
 * @throws {DiskError} where it does not, or not what a disk needs
 */
export async function enterExport(peer: Peer): Promise<NbdExport> {
  const { magic, optionMagic, flags } = greeting.decode(await peer.read(greeting.size))
  if (magic !== Magic.GREETING || optionMagic !== Magic.OPTION || (flags & HandshakeFlag.FIXED_NEWSTYLE) === 0) {
    throw new DiskError('not an NBD server with the fixed newstyle handshake')
  }
  peer.send(clientFlags.encode({ flags: HandshakeFlag.FIXED_NEWSTYLE }))
  const length = goOption.size - optionHeaderBytes
  peer.send(
    goOption.encode({
      magic: Magic.OPTION,
      option: NBD_OPT_GO,
      length,
      nameLength: 0,
      infos: 0,
    }),
  )
  const about = await readInfos(peer)
  if (peer.saysMore) throw new DiskError('unexpected data after the handshake')
  return about
}

/** What comes before the data of an option. */
const optionHeaderBytes = 16

async function readInfos(peer: Peer): Promise<NbdExport> {
  let about: ReturnType<typeof infoExport.decode> | undefined
  let sizes = { minimum: 1, maximum: MAX_PAYLOAD }
  for (let replies = 0; replies < MAX_REPLIES; replies++) {
    const { type, payload } = await readReply(peer)
    if (type === OptionReply.ACK) {
      if (!about) throw new DiskError('the server does not say what it exports')
      return checkedExport(about, sizes)
    }
    if (type >= OptionReply.ERROR_BIT) throw new DiskError(refusal(type, payload))
    if (type !== OptionReply.INFO || payload.length < 2) throw new DiskError(`the server answers with type ${type}`)
    const info = (payload[0] << 8) | payload[1]
    if (info === Info.EXPORT && payload.length === infoExport.size) about = infoExport.decode(payload)
    else if (info === Info.BLOCK_SIZE && payload.length === infoBlockSize.size) sizes = infoBlockSize.decode(payload)
    else if (info === Info.EXPORT || info === Info.BLOCK_SIZE) {
      throw new DiskError(`the server says ${payload.length} bytes about its export`)
    }
  }
  throw new DiskError('the server does not come to an end')
}

async function readReply(peer: Peer): Promise<{ type: number; payload: Uint8Array }> {
  const { magic, option, type, length } = optionReply.decode(await peer.read(optionReply.size))
  if (magic !== Magic.OPTION_REPLY || option !== NBD_OPT_GO) throw new DiskError('the server answers something else')
  if (length > MAX_REPLY_BYTES) throw new DiskError(`the server answers with ${length} bytes`)
  return { type, payload: await peer.read(length) }
}

function refusal(type: number, payload: Uint8Array): string {
  const words = new TextDecoder().decode(payload).replace(/[^\x20-\x7e]+/g, ' ')
  return `the server refuses: ${words || `error ${type - OptionReply.ERROR_BIT}`}`
}

function checkedExport(
  { size, flags }: { readonly size: bigint; readonly flags: number },
  { minimum, maximum }: { readonly minimum: number; readonly maximum: number },
): NbdExport {
  if ((flags & TransmissionFlag.HAS_FLAGS) === 0) throw new DiskError('the server does not say what it can do')
  if (size < SECTOR_BYTES) throw new DiskError('it is smaller than one sector of 512 bytes')
  if (size > Number.MAX_SAFE_INTEGER) throw new DiskError(`it is too large: ${size} bytes`)
  if (SECTOR_BYTES % minimum !== 0) throw new DiskError(`the server takes blocks of ${minimum} bytes, not of 512`)
  const mostBytes = Math.min(maximum, MAX_PAYLOAD)
  if (mostBytes < SECTOR_BYTES) throw new DiskError(`the server takes at most ${maximum} bytes`)
  const readOnly = (flags & TransmissionFlag.READ_ONLY) !== 0
  const needed = TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_WRITE_ZEROES
  if (!readOnly && (flags & needed) !== needed) throw new DiskError('the server cannot flush, or not write zeroes')
  return {
    byteLength: Number(size - (size % BigInt(SECTOR_BYTES))),
    readOnly,
    canDiscard: !readOnly && (flags & TransmissionFlag.SEND_TRIM) !== 0,
    mostBytes: mostBytes - (mostBytes % SECTOR_BYTES),
  }
}
