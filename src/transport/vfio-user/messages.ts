import { bits64, u16, u32, u64 } from '../../wire/field.ts'
import { anything, counted, fixed, followed, nothing, type Payload, withBytes } from '../../wire/payload.ts'
import { struct } from '../../wire/struct.ts'
import { MAX_DESCRIPTORS } from './protocol.ts'

// Payloads of the messages                                                      @vfio-user Protocol Specification
//
// `argsz` in a command is the maximum size of the reply (if there is none: the size of the command). In a reply, it is
// the size of the complete reply.

const version = followed(struct({ major: u16, minor: u16 }))
const dmaMap = fixed(struct({ argsz: u32, flags: u32, offset: u64, address: u64, size: u64 }))
const dmaUnmap = fixed(struct({ argsz: u32, flags: u32, address: u64, size: u64 }))
const deviceInfo = followed(struct({ argsz: u32, flags: u32, regions: u32, irqs: u32 }))
export const REGION_INFO_BYTES = 32
const regionInfo = followed(struct({ argsz: u32, flags: u32, index: u32, capOffset: u32, size: u64, offset: u64 }))
const irqInfo = followed(struct({ argsz: u32, flags: u32, index: u32, count: u32 }))
const irqSet = followed(struct({ argsz: u32, flags: u32, index: u32, start: u32, count: u32 }))
const regionPart = struct({ offset: u64, region: u32, count: u32 })
const regionData = withBytes(regionPart, (head) => head.count)
/** One write of REGION_WRITE_MULTI: `count` is at most 8, `data` always 8 bytes. */
const smallWrite = struct({ offset: u64, region: u32, count: u32, data: bits64 })
const smallWrites = counted(struct({ count: u64 }), (head) => head.count, smallWrite)
const feature = followed(struct({ argsz: u32, flags: u32 }))

export type DmaMapMessage = ReturnType<typeof dmaMap.parse>
export type IrqSetMessage = ReturnType<typeof irqSet.parse>
export type FeatureMessage = ReturnType<typeof feature.parse>

/** Data of DEVICE_FEATURE for DMA_LOGGING_START; `loggingReport` for DMA_LOGGING_REPORT. */
export const loggingStart = counted(
  struct({ pageSize: u64, ranges: u32, reserved: u32 }),
  (head) => head.ranges,
  struct({ address: u64, length: u64 }),
)
export const loggingReport = followed(struct({ address: u64, length: u64, pageSize: u64 }))

/** Sparse mmap capability, after the fixed part of a reply to DEVICE_GET_REGION_INFO. */
export const sparseAreas = counted(
  struct({ id: u16, version: u16, next: u32, areas: u32, reserved: u32 }),
  (head) => head.areas,
  struct({ offset: u64, size: u64 }),
)

/** Id, layouts and descriptor limit of a command. */
export interface CommandKind<Q, R> {
  readonly id: number
  readonly request: Payload<Q>
  readonly reply: Payload<R>
  /** Maximum number of descriptors. */
  readonly descriptors: number
}

function command<Q, R = void>(
  id: number,
  request: Payload<Q>,
  options: { readonly reply: Payload<R>; readonly descriptors?: number },
): CommandKind<Q, R> {
  return { descriptors: 0, ...options, id, request }
}

const NO_REPLY = { reply: nothing }

/** Commands of a client. @vfio-user Commands */
export const ClientCommand = {
  VERSION: command(1, version, { reply: version }),
  DMA_MAP: command(2, dmaMap, { ...NO_REPLY, descriptors: 1 }),
  DMA_UNMAP: command(3, dmaUnmap, { reply: dmaUnmap }),
  DEVICE_GET_INFO: command(4, deviceInfo, { reply: deviceInfo }),
  DEVICE_GET_REGION_INFO: command(5, regionInfo, { reply: regionInfo }),
  DEVICE_GET_REGION_IO_FDS: command(6, anything, { reply: anything }),
  DEVICE_GET_IRQ_INFO: command(7, irqInfo, { reply: irqInfo }),
  DEVICE_SET_IRQS: command(8, irqSet, { ...NO_REPLY, descriptors: MAX_DESCRIPTORS }),
  REGION_READ: command(9, fixed(regionPart), { reply: regionData }),
  REGION_WRITE: command(10, regionData, { reply: fixed(regionPart) }),
  DEVICE_RESET: command(13, nothing, NO_REPLY),
  REGION_WRITE_MULTI: command(15, smallWrites, { reply: fixed(struct({ count: u64 })) }),
  DEVICE_FEATURE: command(16, feature, { reply: feature }),
  MIG_DATA_READ: command(17, anything, { reply: anything }),
  MIG_DATA_WRITE: command(18, anything, NO_REPLY),
} as const
export type ClientCommand = keyof typeof ClientCommand

type Kinds = typeof ClientCommand
export type RequestOf<N extends ClientCommand> = Kinds[N] extends CommandKind<infer Q, infer _> ? Q : never
export type ReplyOf<N extends ClientCommand> = Kinds[N] extends CommandKind<infer _, infer R> ? R : never

const NAMES = new Map(Object.entries(ClientCommand).map(([name, { id }]) => [id, name as ClientCommand]))

/** Returns the name of a command; undefined if clients have no such command. */
export function clientCommandName(id: number): ClientCommand | undefined {
  return NAMES.get(id)
}
