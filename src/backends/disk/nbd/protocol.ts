import { bits64be, u16be, u32be } from '../../../wire/field.ts'
import { struct } from '../../../wire/struct.ts'

/** Magic numbers at the start of each kind of message. */
export const Magic = {
  GREETING: 0x4e42_444d_4147_4943n,
  OPTION: 0x4948_4156_454f_5054n,
  OPTION_REPLY: 0x0003_e889_0455_65a9n,
  REQUEST: 0x2560_9513,
  SIMPLE_REPLY: 0x6744_6698,
} as const

// Handshake                                                                            @nbd Fixed newstyle negotiation

export const HandshakeFlag = { FIXED_NEWSTYLE: 1 } as const

export const NBD_OPT_GO = 7

export const OptionReply = { ACK: 1, INFO: 3, ERROR_BIT: 2 ** 31 } as const

export const Info = { EXPORT: 0, BLOCK_SIZE: 3 } as const

export const greeting = struct({ magic: bits64be, optionMagic: bits64be, flags: u16be })
export const clientFlags = struct({ flags: u32be })
/** NBD_OPT_GO for the default export, without requests for additional information. */
export const goOption = struct({ magic: bits64be, option: u32be, length: u32be, nameLength: u32be, infos: u16be })
export const optionReply = struct({ magic: bits64be, option: u32be, type: u32be, length: u32be })
export const infoExport = struct({ info: u16be, size: bits64be, flags: u16be })
export const infoBlockSize = struct({ info: u16be, minimum: u32be, preferred: u32be, maximum: u32be })

export const TransmissionFlag = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
} as const

// Requests, most significant byte first                                                           @nbd Request message
//
//   0       4       6      8                   16       24       28
//   | magic | flags | type | cookie            | offset | length | data of a WRITE ...
//                          | generation | slot |
//
export const REQUEST_BYTES = 28
export const requestHeader = struct({
  magic: u32be,
  flags: u16be,
  type: u16be,
  cookie: bits64be,
  offset: bits64be,
  length: u32be,
})

// Simple replies                                                                              @nbd Simple reply message
//
//   0       4       8                   16
//   | magic | error | cookie            | data of a READ that did not fail ...
//
export const REPLY_BYTES = 16

export const NbdCommand = { READ: 0, WRITE: 1, DISC: 2, FLUSH: 3, TRIM: 4, WRITE_ZEROES: 6 } as const
export type NbdCommand = (typeof NbdCommand)[keyof typeof NbdCommand]

export const NBD_CMD_FLAG_NO_HOLE = 1 << 1

/** Maximum payload in bytes that every server must accept by default. @nbd Block size constraints */
export const MAX_PAYLOAD = 1 << 25
