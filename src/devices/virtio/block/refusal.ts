import { BlkStatus } from './protocol.ts'

/** Why a request is not given to the disk, and what the driver gets to read. @virtio 5.2.6.2 */
export const Refusal = {
  /** The status has no place in the request. */
  NO_STATUS: { status: BlkStatus.IOERR, reason: 'request without room for its status' },
  SHORT_HEADER: { status: BlkStatus.IOERR, reason: 'request header of less than 16 bytes' },
  UNKNOWN_TYPE: { status: BlkStatus.UNSUPP, reason: 'request type not known' },
  NOT_NEGOTIATED: { status: BlkStatus.UNSUPP, reason: 'request type that was not negotiated' },
  READ_ONLY: { status: BlkStatus.IOERR, reason: 'write to a read-only disk' },
  ODD_LENGTH: { status: BlkStatus.IOERR, reason: 'data is not a whole number of sectors' },
  OUTSIDE: { status: BlkStatus.IOERR, reason: 'sectors past the end of the disk' },
  ID_LENGTH: { status: BlkStatus.IOERR, reason: 'room for the device id is not 20 bytes' },
  ODD_SEGMENTS: { status: BlkStatus.IOERR, reason: 'segments are not a whole number, or none' },
  TOO_MANY_SEGMENTS: { status: BlkStatus.UNSUPP, reason: 'more segments than the configuration allows' },
  SEGMENT_FLAGS: { status: BlkStatus.UNSUPP, reason: 'segment flag that is reserved or not for this type' },
  SEGMENT_LENGTH: { status: BlkStatus.IOERR, reason: 'segment longer than the configuration allows' },
} as const
export type Refusal = (typeof Refusal)[keyof typeof Refusal]
