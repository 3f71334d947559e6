import { BlkStatus } from './protocol.ts'

/** Reasons to refuse a request before the disk receives it, and the status for the driver. @virtio 5.2.6.2 */
export const Refusal = {
  /** No writable byte for the status: the driver cannot read it. */
  NO_STATUS: { status: BlkStatus.IOERR, reason: 'request without a byte for its status' },
  SHORT_HEADER: { status: BlkStatus.IOERR, reason: 'request header of less than 16 bytes' },
  UNKNOWN_TYPE: { status: BlkStatus.UNSUPP, reason: 'unknown request type' },
  NOT_NEGOTIATED: { status: BlkStatus.UNSUPP, reason: 'request type without its negotiated feature' },
  READ_ONLY: { status: BlkStatus.IOERR, reason: 'write to a read-only disk' },
  ODD_LENGTH: { status: BlkStatus.IOERR, reason: 'data is not a whole number of sectors' },
  OUTSIDE: { status: BlkStatus.IOERR, reason: 'sectors past the end of the disk' },
  ID_LENGTH: { status: BlkStatus.IOERR, reason: 'buffer for the device ID must have 20 bytes' },
  ODD_SEGMENTS: { status: BlkStatus.IOERR, reason: 'data is not a whole number of segments, or empty' },
  TOO_MANY_SEGMENTS: { status: BlkStatus.UNSUPP, reason: 'more segments than the configuration allows' },
  SEGMENT_FLAGS: { status: BlkStatus.UNSUPP, reason: 'segment flag that is reserved or invalid for this request type' },
  SEGMENT_LENGTH: { status: BlkStatus.IOERR, reason: 'segment longer than the configuration allows' },
} as const
export type Refusal = (typeof Refusal)[keyof typeof Refusal]
