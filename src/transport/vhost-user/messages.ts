import { bits64, byteArray, padding, u8, u16, u32, u64 } from '../../wire/field.ts'
import { anything, counted, fixed, nothing, type Payload, withBytes } from '../../wire/payload.ts'
import { struct } from '../../wire/struct.ts'
import { MAX_TABLE_REGIONS, ProtocolFeature, SHMEM_REGIONS } from './protocol.ts'

// Payloads                                                                            @vhost-user Message Specification

/** Number other than a size or address: a count, a status, a ring with flags. */
const number = fixed(u64)
const featureSet = fixed(bits64)
const vringState = fixed(struct({ index: u32, num: u32 }))
const vringAddress = fixed(struct({ index: u32, flags: u32, descriptor: u64, used: u64, available: u64, log: u64 }))

const memoryRegion = struct({ guestAddress: u64, size: u64, userAddress: u64, mmapOffset: u64 })
const memoryTable = counted(struct({ regions: u32, gap: padding(4) }), (head) => head.regions, memoryRegion)
const singleRegion = fixed(struct({ gap: padding(8), region: memoryRegion }))
const logArea = fixed(struct({ size: u64, offset: u64 }))
const config = withBytes(struct({ offset: u32, size: u32, flags: u32 }), (head) => head.size)
/** With the 4 bytes of padding that C compilers add and QEMU requires. */
const inflight = fixed(struct({ mmapSize: u64, mmapOffset: u64, queues: u16, queueSize: u16 }), 4)
const sharedObject = fixed(struct({ uuid: byteArray(16) }))
const stateTransfer = fixed(struct({ direction: u32, phase: u32 }))
const shmemConfig = counted(struct({ regions: u32, gap: padding(4) }), () => SHMEM_REGIONS, u64)
const mmap = fixed(struct({ shmid: u8, gap: padding(7), fdOffset: u64, shmOffset: u64, length: u64, flags: u64 }))
/** Six bytes of a MAC address, and two of padding. */
const macAddress = fixed(struct({ mac: byteArray(6), gap: padding(2) }))

export type MemoryRegionMessage = ReturnType<typeof singleRegion.parse>['region']
export type VringAddressMessage = ReturnType<typeof vringAddress.parse>

/** Properties of a message kind. */
export interface MessageKind<Q, R> {
  readonly id: number
  readonly request: Payload<Q>
  /** Payload of the reply; without one, it is acknowledged if the sender requests that. */
  readonly reply?: Payload<R>
  /** Protocol feature that it needs. */
  readonly needs?: ProtocolFeature
  /** Reply to a refused message; without one, a refusal ends the connection, unless it can be acknowledged. */
  readonly refusal?: Uint8Array
  /** Minimum and maximum number of its descriptors. */
  readonly descriptors: readonly [least: number, most: number]
}

interface KindOptions<R> {
  readonly reply?: Payload<R>
  readonly refusal?: Uint8Array
  readonly needs?: ProtocolFeature
  readonly descriptors?: readonly [number, number]
}

function message<Q, R = void>(id: number, request: Payload<Q>, options: KindOptions<R> = {}): MessageKind<Q, R> {
  return { descriptors: NO_DESCRIPTORS, ...options, id, request }
}

const NO_DESCRIPTORS = [0, 0] as const
const ONE_DESCRIPTOR = [1, 1] as const
const MAYBE_ONE = [0, 1] as const
const NOTHING = new Uint8Array(0)
const FAILED = number.write(1)
/** Failure without a descriptor. */
const FAILED_NO_FD = number.write(0x101)

const { CONFIG, CONFIGURE_MEM_SLOTS, DEVICE_STATE, INBAND_NOTIFICATIONS, INFLIGHT_SHMFD, LOG_SHMFD } = ProtocolFeature
const { BACKEND_REQ, MQ, MTU, RARP, RESET_DEVICE, SHARED_OBJECT, SHMEM, STATUS } = ProtocolFeature

/** Messages of a front-end. @vhost-user Front-end message types */
export const FrontEndMessage = {
  GET_FEATURES: message(1, nothing, { reply: featureSet }),
  SET_FEATURES: message(2, featureSet),
  SET_OWNER: message(3, nothing),
  RESET_OWNER: message(4, nothing),
  SET_MEM_TABLE: message(5, memoryTable, { descriptors: [0, MAX_TABLE_REGIONS] }),
  SET_LOG_BASE: message(6, logArea, { needs: LOG_SHMFD, descriptors: ONE_DESCRIPTOR, reply: number }),
  SET_LOG_FD: message(7, nothing, { descriptors: ONE_DESCRIPTOR }),
  SET_VRING_NUM: message(8, vringState),
  SET_VRING_ADDR: message(9, vringAddress),
  SET_VRING_BASE: message(10, vringState),
  GET_VRING_BASE: message(11, vringState, { reply: vringState }),
  SET_VRING_KICK: message(12, number, { descriptors: MAYBE_ONE }),
  SET_VRING_CALL: message(13, number, { descriptors: MAYBE_ONE }),
  SET_VRING_ERR: message(14, number, { descriptors: MAYBE_ONE }),
  GET_PROTOCOL_FEATURES: message(15, nothing, { reply: featureSet }),
  SET_PROTOCOL_FEATURES: message(16, featureSet),
  GET_QUEUE_NUM: message(17, nothing, { needs: MQ, reply: number }),
  SET_VRING_ENABLE: message(18, vringState),
  SEND_RARP: message(19, macAddress, { needs: RARP }),
  NET_SET_MTU: message(20, number, { needs: MTU }),
  SET_BACKEND_REQ_FD: message(21, nothing, { needs: BACKEND_REQ, descriptors: ONE_DESCRIPTOR }),
  IOTLB_MSG: message(22, anything, { reply: number, refusal: FAILED }),
  SET_VRING_ENDIAN: message(23, vringState),
  /** An empty reply is an error for the front-end. */
  GET_CONFIG: message(24, config, { needs: CONFIG, reply: config, refusal: NOTHING }),
  SET_CONFIG: message(25, config, { needs: CONFIG }),
  CREATE_CRYPTO_SESSION: message(26, anything, { reply: anything }),
  CLOSE_CRYPTO_SESSION: message(27, number),
  POSTCOPY_ADVISE: message(28, nothing, { reply: nothing }),
  POSTCOPY_LISTEN: message(29, nothing),
  POSTCOPY_END: message(30, nothing, { reply: number, refusal: FAILED }),
  GET_INFLIGHT_FD: message(31, inflight, { needs: INFLIGHT_SHMFD, reply: inflight }),
  SET_INFLIGHT_FD: message(32, inflight, { needs: INFLIGHT_SHMFD, descriptors: ONE_DESCRIPTOR }),
  GPU_SET_SOCKET: message(33, nothing, { descriptors: ONE_DESCRIPTOR }),
  RESET_DEVICE: message(34, nothing, { needs: RESET_DEVICE }),
  VRING_KICK: message(35, vringState, { needs: INBAND_NOTIFICATIONS }),
  GET_MAX_MEM_SLOTS: message(36, nothing, { needs: CONFIGURE_MEM_SLOTS, reply: number }),
  ADD_MEM_REG: message(37, singleRegion, { needs: CONFIGURE_MEM_SLOTS, descriptors: ONE_DESCRIPTOR }),
  /** Some front-ends send a descriptor with it, which is closed. */
  REM_MEM_REG: message(38, singleRegion, { needs: CONFIGURE_MEM_SLOTS, descriptors: MAYBE_ONE }),
  SET_STATUS: message(39, number, { needs: STATUS }),
  GET_STATUS: message(40, nothing, { needs: STATUS, reply: number }),
  /** The reply has a descriptor if there is such an object. */
  GET_SHARED_OBJECT: message(41, sharedObject, { needs: SHARED_OBJECT, reply: nothing, refusal: NOTHING }),
  SET_DEVICE_STATE_FD: message(42, stateTransfer, {
    needs: DEVICE_STATE,
    descriptors: ONE_DESCRIPTOR,
    reply: number,
    refusal: FAILED_NO_FD,
  }),
  CHECK_DEVICE_STATE: message(43, nothing, { needs: DEVICE_STATE, reply: number, refusal: FAILED }),
  GET_SHMEM_CONFIG: message(44, nothing, { needs: SHMEM, reply: shmemConfig }),
  GET_VRING_BASE_SKIP_DRAIN: message(45, vringState, { reply: vringState }),
} as const
export type FrontEndMessage = keyof typeof FrontEndMessage

/** Messages of a back-end on its channel. @vhost-user Back-end message types */
export const BackEndMessage = {
  CONFIG_CHANGE_MSG: message(2, nothing, { needs: CONFIG }),
  VRING_CALL: message(4, vringState, { needs: INBAND_NOTIFICATIONS }),
  VRING_ERR: message(5, vringState, { needs: INBAND_NOTIFICATIONS }),
  SHARED_OBJECT_ADD: message(6, sharedObject, { needs: SHARED_OBJECT }),
  SHARED_OBJECT_REMOVE: message(7, sharedObject, { needs: SHARED_OBJECT }),
  /** Always has a reply: a status and, if that is 0, the object's descriptor. */
  SHARED_OBJECT_LOOKUP: message(8, sharedObject, { needs: SHARED_OBJECT, reply: number }),
  SHMEM_MAP: message(9, mmap, { needs: SHMEM, descriptors: ONE_DESCRIPTOR }),
  SHMEM_UNMAP: message(10, mmap, { needs: SHMEM }),
} as const
export type BackEndMessage = keyof typeof BackEndMessage

type Kinds = typeof FrontEndMessage & typeof BackEndMessage
type Name = FrontEndMessage | BackEndMessage
/** Payloads of a message and of its reply. */
export type RequestOf<N extends Name> = Kinds[N] extends MessageKind<infer Q, infer _> ? Q : never
export type ReplyOf<N extends Name> = Kinds[N] extends MessageKind<infer _, infer R> ? R : never

const FRONT_END_NAMES = new Map(Object.entries(FrontEndMessage).map(([name, { id }]) => [id, name as FrontEndMessage]))

/** Returns the name of a message; undefined if the protocol has no such message. */
export function frontEndMessageName(id: number): FrontEndMessage | undefined {
  return FRONT_END_NAMES.get(id)
}

/** Acknowledgement of a message: 0 for success. */
export const acknowledgement = number
