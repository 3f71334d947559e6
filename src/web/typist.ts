import type { InspectionMessage, PageMessage } from '../console/protocol.ts'
import type { Keyboard } from './keyboard.ts'
import { Layout } from './layouts.ts'

/** Maximum length of a waiting text; a longer one is refused as a whole. */
const MAX_TEXT = 100_000
/** Characters per batch. Linux buffers at least 64 events for a slow program. */
const BATCH = 4
const PAUSE_MS = 10
/** Device ID of input devices. @virtio 5.8 */
const INPUT_DEVICE = 18
/** Maximum number of characters that a report shows. */
const MAX_SHOWN = 8

export interface TypistEvents {
  send(message: PageMessage): void
  /** Reports the result of typing to the user; empty if there is none. */
  report(text: string): void
}

/**
 * Types text as keystrokes, by a layout of the guest.
 *
 * Text is sent in batches of a few characters. The next batch waits until the guest's driver has read all events of the
 * previous one, so that a long text neither fills queues nor loses keys. Characters that the layout does not have are
 * skipped and reported.
 *
 *     typist.type('echo "Hello"\n')
 */
export class Typist {
  readonly #characters: string[] = []
  #next = 0
  #timer: number | undefined
  #isAsking = false
  #typed = 0
  /** Characters that the layout does not have, with their numbers of occurrences. */
  readonly #missing = new Map<string, number>()

  /** Layout of the guest. */
  layout = new Layout('us')

  constructor(
    private readonly keyboard: Keyboard,
    private readonly events: TypistEvents,
  ) {}

  get isTyping(): boolean {
    return this.#next < this.#characters.length
  }

  /** Types a text, after earlier ones. */
  type(text: string): void {
    const characters = [...text.replaceAll(/\r\n?/g, '\n').normalize('NFC')]
    const waiting = this.#characters.length - this.#next
    if (characters.length + waiting > MAX_TEXT) {
      this.report(`Not typed: ${count(characters.length)} exceed the maximum of ${MAX_TEXT.toLocaleString()}`)
      return
    }
    const isFirst = !this.isTyping
    for (const character of characters) this.#characters.push(character)
    if (isFirst) this.#typeBatch()
  }

  report(text: string): void {
    this.events.report(text)
  }

  /** Drops the rest of the text. @returns true if there was any */
  stop(): boolean {
    if (!this.isTyping) return false
    const rest = this.#characters.length - this.#next
    this.#end(`Stopped: ${count(rest)} not typed`)
    return true
  }

  /** Handles the current state of the guest's devices. */
  inspected({ devices }: InspectionMessage): void {
    if (!this.#isAsking) return
    this.#isAsking = false
    const isRead = devices.every(({ id, state }) => id !== INPUT_DEVICE || !state['waiting'])
    this.#timer = setTimeout(() => (isRead ? this.#typeBatch() : this.#ask()), PAUSE_MS)
  }

  #ask(): void {
    this.#isAsking = true
    this.events.send({ type: 'inspect' })
  }

  #typeBatch(): void {
    for (let left = BATCH; left > 0 && this.isTyping; left--) this.#typeOne(this.#characters[this.#next++])
    if (this.isTyping) {
      this.report(`Typing, ${count(this.#characters.length - this.#next)} left. Escape stops it`)
      this.#ask()
    } else {
      this.#end('')
    }
  }

  #typeOne(character: string): void {
    const chords = this.layout.chordsOf(character, this.keyboard.locks.isOn('CapsLock'))
    if (!chords) {
      this.#missing.set(character, (this.#missing.get(character) ?? 0) + 1)
      return
    }
    for (const chord of chords) this.keyboard.chord(chord)
    this.#typed++
  }

  #end(what: string): void {
    clearTimeout(this.#timer)
    this.#isAsking = false
    this.#characters.length = 0
    this.#next = 0
    this.report([what, this.#describeMissing()].filter(Boolean).join('. '))
    this.#missing.clear()
    this.#typed = 0
  }

  #describeMissing(): string {
    const total = [...this.#missing.values()].reduce((sum, one) => sum + one, 0)
    if (total === 0) return ''
    const shown = [...this.#missing.keys()].slice(0, MAX_SHOWN).map(visible).join(' ')
    const more = this.#missing.size > MAX_SHOWN ? ' …' : ''
    const verb = total === 1 ? 'is' : 'are'
    const left = `${total.toLocaleString()} of ${count(this.#typed + total)}`
    return `${left} ${verb} not on the ${this.layout.name} keyboard: ${shown}${more}`
  }
}

function count(characters: number): string {
  return `${characters.toLocaleString()} ${characters === 1 ? 'character' : 'characters'}`
}

/** Formats a character for a report: control and combining characters by their code points. */
function visible(character: string): string {
  if (!/[\p{C}\p{M}\p{Z}]/u.test(character)) return character
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`
}
