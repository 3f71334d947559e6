import type { Handlers } from './dispatcher.ts'

/** What vhost-user adds for one kind of device: messages, and the protocol features that offer them. */
export interface VhostUserExtension {
  /** Bits of `ProtocolFeature`. @default 0n */
  readonly protocolFeatures?: bigint
  /** Handlers of the messages that only this kind of device receives. */
  readonly handlers: Handlers
  /** Rings that GET_QUEUE_NUM counts as one queue. @default 1 */
  readonly ringsPerQueue?: number
  /** Called when the connection ended. */
  disconnected?(): void
}
