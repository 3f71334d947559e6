import { stripVTControlCharacters } from 'node:util'
import { printableText } from '../log/printable-text.ts'
import type { StopReason } from '../machine/machine.ts'

/** Maximum length of a line in bytes; the rest of a longer one is dropped. */
const MAX_LINE = 512

export interface SerialLogListener {
  /** A step of the boot. */
  progress(step: string): void
  /** Any other line. */
  line(text: string): void
  ended(reason: StopReason): void
}

const ESCAPE = '\x1b'
/** Start of the lines by which the guest image's init script reports boot steps. */
const MARK = 'outboard: '

/** Parses the first serial port, on which kernel and init script report boot steps, panic and power off. */
export class SerialLog {
  readonly #listener: SerialLogListener
  readonly #line = new Uint8Array(MAX_LINE)
  #length = 0
  #started = false

  constructor(listener: SerialLogListener) {
    this.#listener = listener
  }

  /** The guest was restored: its kernel started earlier. */
  restored(): void {
    this.#started = true
  }

  byte(value: number): void {
    if (value === 0x0a) {
      const decoded = new TextDecoder().decode(this.#line.subarray(0, this.#length))
      this.#length = 0
      // Firmware and boot loaders draw menus with control sequences.
      const text = printableText(stripVTControlCharacters(decoded).replaceAll(ESCAPE, ''))
      const line = text.replace(/^\[ *\d+\.\d+\] /, '').trimEnd()
      if (line !== '') this.#read(line)
    } else if (this.#length < MAX_LINE && (value >= 0x20 || value === 0x1b)) {
      this.#line[this.#length++] = value
    }
  }

  #read(line: string): void {
    if (!this.#started) {
      this.#started = true
      this.#listener.progress('kernel started')
    }
    if (line.startsWith(MARK)) {
      this.#listener.progress(line.slice(MARK.length))
      return
    }
    this.#listener.line(line)
    if (line.startsWith('Kernel panic'))
      this.#listener.ended({ kind: 'panic', message: `the guest's kernel panicked: ${line}` })
    else if (/^reboot: (Power down|System halted)/.test(line)) {
      this.#listener.ended({ kind: 'power-off', message: 'the guest powered off' })
    } else if (line.startsWith('reboot: Restarting system')) {
      this.#listener.ended({ kind: 'power-off', message: 'the guest restarted; restarts are not supported' })
    }
  }
}
