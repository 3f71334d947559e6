import type { Machine } from '../machine/machine.ts'
import type { InspectionMessage } from './protocol.ts'
import { type Send, TabStream } from './tab-stream.ts'

/** Answers a tab's requests for the state of the devices, one at a time. */
export class InspectionStream extends TabStream {
  constructor(
    private readonly machine: Machine,
    private readonly send: Send,
  ) {
    super()
  }

  protected override async sendNewest(): Promise<boolean> {
    this.send(JSON.stringify(await this.#inspect(), plainValue))
    return true
  }

  async #inspect(): Promise<InspectionMessage> {
    try {
      return { type: 'inspection', ...(await this.machine.inspect()) }
    } catch (error) {
      return { type: 'inspection', devices: [], error: error instanceof Error ? error.message : String(error) }
    }
  }
}

/** Replaces values of a device's state that JSON cannot represent. */
function plainValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`
  if (value instanceof Map) return Object.fromEntries(value)
  if (value instanceof Set) return [...value]
  return value
}
