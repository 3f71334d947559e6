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

/** Limits of an answer to one option: replies, and bytes of one reply. No valid answer reaches them. */
const MAX_REPLIES = 64
const MAX_REPLY_BYTES = 8192

/** Validated properties of a server's export. */
export interface NbdExport {
  /** Size in bytes, a multiple of 512. */
  readonly byteLength: number
  readonly readOnly: boolean
  readonly canDiscard: boolean
  /** Maximum length of a request in bytes, a multiple of 512. */
  readonly maxBytes: number
}

/**
 * Performs the handshake with a server, and selects the default export (empty name). The client does not request block
 * sizes, so the server must accept requests of every size. @nbd Block size constraints
 *
 * @throws {DiskError} if the server refuses, breaks the protocol, or lacks a feature that a disk needs
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
  if (peer.hasUnreadBytes) throw new DiskError('unexpected data after the handshake')
  return about
}

/** Bytes of an option before its data. */
const optionHeaderBytes = 16

async function readInfos(peer: Peer): Promise<NbdExport> {
  let about: ReturnType<typeof infoExport.decode> | undefined
  let sizes = { minimum: 1, maximum: MAX_PAYLOAD }
  for (let replies = 0; replies < MAX_REPLIES; replies++) {
    const { type, payload } = await readReply(peer)
    if (type === OptionReply.ACK) {
      if (!about) throw new DiskError('the server sent no information about its export')
      return checkedExport(about, sizes)
    }
    if (type >= OptionReply.ERROR_BIT) throw new DiskError(refusal(type, payload))
    if (type !== OptionReply.INFO || payload.length < 2)
      throw new DiskError(`the server sent an unexpected reply of type ${type}`)
    const info = (payload[0] << 8) | payload[1]
    if (info === Info.EXPORT && payload.length === infoExport.size) about = infoExport.decode(payload)
    else if (info === Info.BLOCK_SIZE && payload.length === infoBlockSize.size) sizes = infoBlockSize.decode(payload)
    else if (info === Info.EXPORT || info === Info.BLOCK_SIZE) {
      throw new DiskError(`the server sent export information of an invalid length (${payload.length})`)
    }
  }
  throw new DiskError(`the server sent more than ${MAX_REPLIES} replies to one option`)
}

async function readReply(peer: Peer): Promise<{ type: number; payload: Uint8Array }> {
  const { magic, option, type, length } = optionReply.decode(await peer.read(optionReply.size))
  if (magic !== Magic.OPTION_REPLY || option !== NBD_OPT_GO) throw new DiskError('the server sent an invalid reply')
  if (length > MAX_REPLY_BYTES) {
    throw new DiskError(`the server sent a reply of ${length} bytes, more than ${MAX_REPLY_BYTES}`)
  }
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
  if ((flags & TransmissionFlag.HAS_FLAGS) === 0) throw new DiskError('the server sent no transmission flags')
  if (size < SECTOR_BYTES) throw new DiskError(`the export is smaller than one sector of 512 bytes (${size})`)
  if (size > Number.MAX_SAFE_INTEGER) throw new DiskError(`the export is too large (${size} bytes)`)
  if (SECTOR_BYTES % minimum !== 0) {
    throw new DiskError(`the server requires blocks of ${minimum} bytes; blocks of 512 bytes are needed`)
  }
  const maxBytes = Math.min(maximum, MAX_PAYLOAD)
  if (maxBytes < SECTOR_BYTES) {
    throw new DiskError(`the server accepts at most ${maximum} bytes for one request; 512 are needed`)
  }
  const readOnly = (flags & TransmissionFlag.READ_ONLY) !== 0
  const needed = TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_WRITE_ZEROES
  if (!readOnly && (flags & needed) !== needed) throw new DiskError('the server must support FLUSH and WRITE_ZEROES')
  return {
    byteLength: Number(size - (size % BigInt(SECTOR_BYTES))),
    readOnly,
    canDiscard: !readOnly && (flags & TransmissionFlag.SEND_TRIM) !== 0,
    maxBytes: maxBytes - (maxBytes % SECTOR_BYTES),
  }
}
