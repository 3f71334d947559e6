import { FitAddon } from '@xterm/addon-fit'
import { type ITheme, Terminal } from '@xterm/xterm'
import type { PageMessage, SocketFrame } from '../console/protocol.ts'
import type { Answer } from './connection.ts'
import { ControlSequences } from './control-sequences.ts'
import { byId } from './dom.ts'

const LIGHT: ITheme = {
  background: '#fbfbfc',
  foreground: '#24292f',
  cursor: '#24292f',
  cursorAccent: '#fbfbfc',
  selectionBackground: '#b6d4f5',
  black: '#24292f',
  red: '#b3261e',
  green: '#116329',
  yellow: '#7a4e00',
  blue: '#0b57b8',
  magenta: '#7a3ec8',
  cyan: '#0f6674',
  white: '#57606a',
  brightBlack: '#57606a',
  brightRed: '#a40e26',
  brightGreen: '#1a7f37',
  brightYellow: '#633c01',
  brightBlue: '#218bff',
  brightMagenta: '#8250df',
  brightCyan: '#1b7c83',
  brightWhite: '#6e7781',
}

const DARK: ITheme = {
  background: '#14171c',
  foreground: '#d7dce3',
  cursor: '#d7dce3',
  cursorAccent: '#14171c',
  selectionBackground: '#33507a',
  black: '#3b424c',
  red: '#f47067',
  green: '#6bc46d',
  yellow: '#daaa3f',
  blue: '#6cb6ff',
  magenta: '#d2a8ff',
  cyan: '#56d4dd',
  white: '#b8c0ca',
  brightBlack: '#7d8794',
  brightRed: '#ff938a',
  brightGreen: '#8ddb8c',
  brightYellow: '#f3d173',
  brightBlue: '#96d0ff',
  brightMagenta: '#e2c5ff',
  brightCyan: '#8ae9ef',
  brightWhite: '#f2f5f8',
}

/** Characters given to the terminal at once: it works through each piece without a pause. */
const PIECE = 512
/** Longest text of one cell, in UTF-16 code units, that a sequence can repeat: a character and its marks. */
const MAX_REPEATED_CELL = 16

const RESET = '\x1bc'
const SKIPPED = '\x18\x1b[0m\r\n\x1b[7m output skipped \x1b[0m\r\n'

export interface TerminalEvents {
  send(message: PageMessage): void
  type(bytes: Uint8Array<ArrayBuffer>): void
  /** The user asked for the keyboard back. */
  release(): void
}

/** The guest's console: what it prints, what is typed, and its size. */
export class TerminalPanel {
  readonly #body = byId('terminal-body', HTMLElement)
  readonly #terminal: Terminal
  readonly #fit = new FitAddon()
  #decoder = newDecoder()
  #sequences = this.#newSequences()
  /** The bytes being parsed hold queries that are not this terminal's to answer. */
  #isQuiet = false

  constructor(private readonly events: TerminalEvents) {
    const isDark = matchMedia('(prefers-color-scheme: dark)')
    this.#terminal = new Terminal({
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue('--mono'),
      fontSize: 13,
      lineHeight: 1.15,
      scrollback: 5000,
      theme: isDark.matches ? DARK : LIGHT,
      minimumContrastRatio: 4.5,
      // The guest could fill the browser's log with its faults.
      logLevel: 'off',
    })
    isDark.addEventListener('change', () => {
      this.#terminal.options.theme = isDark.matches ? DARK : LIGHT
    })
    this.#terminal.loadAddon(this.#fit)
    this.#muteAnswers()
    this.#terminal.parser.registerCsiHandler({ final: 'b' }, () => this.#isLongCell())
    this.#terminal.onData((text) => events.type(new TextEncoder().encode(text)))
    this.#terminal.onBinary((text) => events.type(Uint8Array.from(text, (byte) => byte.charCodeAt(0))))
    this.#terminal.onResize(() => this.sendSize())
    this.#terminal.attachCustomKeyEventHandler((event) => this.#isForTerminal(event))
    new ResizeObserver(() => this.#refit()).observe(this.#body)
  }

  /** A new connection: all there is comes again. */
  reset(): void {
    this.#decoder = newDecoder()
    this.#sequences = this.#newSequences()
    // In its place among the output: the terminal may still have some of the connection before.
    this.#terminal.write(RESET)
    this.sendSize()
  }

  write({ bytes, quiet, skipped }: Extract<SocketFrame, { kind: 'terminal' }>, answer: Answer): void {
    this.#isQuiet = quiet
    const output = this.#decoder.decode(bytes, { stream: true })
    const bounded = this.#sequences.bound(skipped ? SKIPPED + output : output)
    for (let at = 0; at < bounded.length; at += PIECE) this.#terminal.write(bounded.slice(at, at + PIECE))
    this.#terminal.write('', () => answer({ type: 'done', stream: 'terminal' }))
  }

  focus(): void {
    this.#terminal.focus()
  }

  /** The guest's terminal gets the size of this one, once it has one. */
  sendSize(): void {
    if (!this.#terminal.element) return
    const { cols, rows } = this.#terminal
    this.events.send({ type: 'terminalSize', columns: Math.min(1000, cols), rows: Math.min(1000, rows) })
  }

  /** Whether a key is the terminal's to handle, and not the page's or the browser's. */
  #isForTerminal(event: KeyboardEvent): boolean {
    if (!event.ctrlKey) return true
    const isPress = event.type === 'keydown'
    if (event.code === 'KeyG' && event.altKey) {
      event.preventDefault()
      if (isPress) this.events.release()
      return false
    }
    if (!event.shiftKey || event.altKey || event.metaKey) return true
    const letter = letterOf(event)
    if (letter === 'C') {
      event.preventDefault()
      if (isPress) void this.#copy()
    }
    // The browser pastes by itself, which needs no permission.
    return letter !== 'C' && letter !== 'V'
  }

  async #copy(): Promise<void> {
    if (!this.#terminal.hasSelection()) return
    try {
      await navigator.clipboard.writeText(this.#terminal.getSelection())
    } catch {
      // The browser does not allow it: its own Copy command, which xterm.js serves, is left.
    }
  }

  #refit(): void {
    if (this.#body.clientHeight === 0) return
    if (!this.#terminal.element) {
      this.#terminal.open(this.#body)
      // Of several tabs, the one in use decides.
      this.#terminal.textarea?.addEventListener('focus', () => this.sendSize())
    }
    this.#fit.fit()
  }

  #newSequences(): ControlSequences {
    return new ControlSequences(() => this.#terminal)
  }

  /** Whether REP would repeat a cell of very many characters: the last cell written, or the one under the cursor. */
  #isLongCell(): boolean {
    const { active } = this.#terminal.buffer
    const line = active.getLine(active.baseY + active.cursorY)
    return [0, 1, 2].some((back) => {
      const cell = line?.getCell(active.cursorX - back)
      return cell !== undefined && cell.getChars().length > MAX_REPEATED_CELL
    })
  }

  /** Swallows queries (status, attributes, modes, colours) while the output is not to be answered. */
  #muteAnswers(): void {
    const { parser } = this.#terminal
    const isQuiet = (): boolean => this.#isQuiet
    for (const id of [
      { final: 'n' },
      { prefix: '?', final: 'n' },
      { final: 'c' },
      { prefix: '>', final: 'c' },
      { intermediates: '$', final: 'p' },
      { prefix: '?', intermediates: '$', final: 'p' },
    ]) {
      parser.registerCsiHandler(id, isQuiet)
    }
    parser.registerDcsHandler({ intermediates: '$', final: 'q' }, isQuiet)
    for (const color of [4, 10, 11, 12]) parser.registerOscHandler(color, (data) => this.#isQuiet && data.includes('?'))
  }
}

/** The letter that a key writes, or stands at where the layout here writes none of the Latin ones. */
function letterOf({ key, code }: KeyboardEvent): string {
  return /^[a-z]$/i.test(key) ? key.toUpperCase() : code.replace(/^Key/, '')
}

function newDecoder(): TextDecoder {
  return new TextDecoder('utf-8', { ignoreBOM: true })
}
