import type { InspectionMessage, PageMessage } from '../console/protocol.ts'
import { DeviceSection } from './device-section.ts'
import { byId, setText } from './dom.ts'

const PERIOD_MS = 1000

/** Current state of the devices. While open, requests it once a second, after the previous answer arrived. */
export class Inspector {
  readonly #list = byId('devices', HTMLElement)
  readonly #note = byId('inspector-note', HTMLElement)
  #sections: { name: string; section: DeviceSection }[] = []
  #isOpen = false
  #isConnected = false
  #timer: number | undefined

  constructor(private readonly send: (message: PageMessage) => void) {
    document.addEventListener('visibilitychange', () => this.#restart())
  }

  setOpen(isOpen: boolean): void {
    this.#isOpen = isOpen
    this.#restart()
  }

  setConnected(isConnected: boolean): void {
    this.#isConnected = isConnected
    this.#restart()
  }

  show({ devices, error }: InspectionMessage): void {
    if (!this.#isOpen) return
    setText(this.#note, error ?? (devices.length === 0 ? 'The machine has no devices to show.' : ''))
    const names = devices.map(({ name, id }) => `${id} ${name}`)
    if (names.join() !== this.#sections.map(({ name }) => name).join()) {
      this.#sections = devices.map((device, index) => ({ name: names[index], section: new DeviceSection(device) }))
      this.#list.replaceChildren(...this.#sections.map(({ section }) => section.element))
    }
    for (const [index, device] of devices.entries()) this.#sections[index].section.update(device)
    this.#requestIn(PERIOD_MS)
  }

  #restart(): void {
    this.#requestIn(0)
  }

  #requestIn(wait: number): void {
    clearTimeout(this.#timer)
    if (!this.#isOpen || !this.#isConnected || document.visibilityState !== 'visible') return
    this.#timer = setTimeout(() => this.send({ type: 'inspect' }), wait)
  }
}
