import assert from 'node:assert/strict'
import type { Descriptor } from '../../../host/linux/descriptor.ts'
import { END, socketPair, type UnixStream } from '../../../host/linux/unix-stream.ts'
import { MessageFlag } from '../protocol.ts'
import { encodeMessage, type RawMessage, RequestStream } from '../request-stream.ts'
import type { VhostUserRig } from './vhost-user-rig.ts'

/** Front-end's side of the back-end channel. */
export class OtherChannel {
  readonly #ours: UnixStream
  readonly #stream = new RequestStream()

  constructor(private readonly rig: VhostUserRig) {
    const [ours, theirs] = socketPair('a channel')
    this.#ours = ours
    assert.equal(rig.frontEnd.acknowledged('SET_BACKEND_REQ_FD', undefined, [theirs.descriptor]), 0)
    theirs.close()
  }

  /** Takes a turn. @returns the next message */
  next(): RawMessage | undefined {
    this.rig.reactor.turn()
    return this.take()
  }

  /** Returns the next message that has arrived. */
  take(): RawMessage | undefined {
    const received = this.#ours.receive()
    if (received !== undefined && received !== END) this.#stream.add(received.bytes, received.descriptors)
    return this.#stream.next()
  }

  /** Sends a reply. @param descriptors borrowed */
  answer({ request }: Pick<RawMessage, 'request'>, status: number, descriptors: readonly Descriptor[] = []): void {
    const payload = new Uint8Array(8)
    payload[0] = status
    this.#ours.send(encodeMessage(request, MessageFlag.REPLY, payload), descriptors)
    this.rig.reactor.turn()
  }

  close(): void {
    this.#ours.close()
  }
}
