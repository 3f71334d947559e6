import { setImmediate } from 'node:timers/promises'
import { encodeMessage, type RawMessage } from '../command-stream.ts'
import { ServerCommand } from '../dma-messages.ts'
import { MessageFlag } from '../protocol.ts'
import { MEMORY_BYTES, type VfioUserRig } from './vfio-user-rig.ts'

const NOTHING = new Uint8Array(0)
const HEAD = 16

/**
 * Client that does not share the guest memory of a rig, and reads and writes it on DMA_READ and DMA_WRITE.
 *
 *     const memory = new PrivateMemory(rig, 16)
 *     rig.send(0, [1, 2])
 *     await memory.serve()
 */
export class PrivateMemory {
  /** Commands that are not yet answered, oldest first. */
  readonly unanswered: RawMessage[] = []
  /** Addresses of all writes, in order. */
  readonly written: number[] = []
  /** True to answer commands when they arrive. */
  answering = true

  /** @param dataAt offset of data in the payload: 16 as specified, 12 as in QEMU */
  constructor(
    private readonly rig: VfioUserRig,
    private readonly dataAt: 12 | 16,
  ) {
    rig.client.onCommand = (message) => {
      this.unanswered.push({ ...message, payload: message.payload.slice() })
      if (this.answering) this.answer()
    }
  }

  /** Maps the memory without sharing it. */
  map(): void {
    const range = { argsz: 32, flags: 3, offset: 0, address: 0, size: MEMORY_BYTES }
    this.rig.client.ask('DMA_MAP', range)
  }

  /** Takes turns and answers commands for a while. */
  async serve(): Promise<void> {
    for (let i = 0; i < 60; i++) {
      if (this.rig.client.next()) throw new Error('a reply without a request')
      await setImmediate()
    }
  }

  /** Answers the oldest command. */
  answer(): void {
    const message = this.unanswered.shift()
    if (!message) throw new Error('there is no unanswered command')
    const view = new DataView(message.payload.buffer)
    const address = Number(view.getBigUint64(0, true))
    const count = view.getUint32(8, true)
    const { u8 } = this.rig.region
    if (message.command === ServerCommand.DMA_WRITE) {
      this.written.push(address)
      u8.set(message.payload.subarray(this.dataAt, this.dataAt + count), address)
      this.reply(message, NOTHING)
      return
    }
    const payload = new Uint8Array(HEAD + count)
    payload.set(message.payload)
    payload.set(u8.subarray(address, address + count), this.dataAt)
    this.reply(message, payload)
  }

  reply({ id, command }: RawMessage, payload: Uint8Array, error = 0): void {
    const flags = error === 0 ? MessageFlag.REPLY : MessageFlag.REPLY | MessageFlag.ERROR
    this.rig.client.raw(encodeMessage({ id, command, flags, error }, payload))
  }
}
