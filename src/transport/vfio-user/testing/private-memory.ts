import { setImmediate } from 'node:timers/promises'
import { encodeMessage, type RawMessage } from '../command-stream.ts'
import { ServerCommand } from '../dma-messages.ts'
import { MessageFlag } from '../protocol.ts'
import { MEMORY_BYTES, type VfioUserRig } from './vfio-user-rig.ts'

const NOTHING = new Uint8Array(0)
const HEAD = 16

/**
 * A client that keeps the guest's memory of a rig to itself, and reads and writes it when it is asked to.
 *
 *     const memory = new PrivateMemory(rig, 16)
 *     rig.send(0, [1, 2])
 *     await memory.serve()
 */
export class PrivateMemory {
  /** Commands that were not answered yet, oldest first. */
  readonly asked: RawMessage[] = []
  /** Where was written, in order. */
  readonly written: number[] = []
  /** Whether commands are answered when they come. */
  answering = true

  /** @param dataAt where data is in a message: 16 as specified, 12 as QEMU has it */
  constructor(
    private readonly rig: VfioUserRig,
    private readonly dataAt: 12 | 16,
  ) {
    rig.client.onCommand = (message) => {
      this.asked.push({ ...message, payload: message.payload.slice() })
      if (this.answering) this.answer()
    }
  }

  /** Says where the memory is, and no more. */
  map(): void {
    const range = { argsz: 32, flags: 3, offset: 0, address: 0, size: MEMORY_BYTES }
    this.rig.client.ask('DMA_MAP', range)
  }

  /** Lets happen what can. */
  async serve(): Promise<void> {
    for (let i = 0; i < 60; i++) {
      if (this.rig.client.next()) throw new Error('a reply without a request')
      await setImmediate()
    }
  }

  /** Answers the oldest command. */
  answer(): void {
    const message = this.asked.shift()
    if (!message) throw new Error('nothing was asked')
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
