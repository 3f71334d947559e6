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

/** Maximum number of characters that are passed to the terminal at once: it processes a piece without a pause. */
const PIECE = 512
/** Maximum length of a cell that a sequence may repeat, in UTF-16 code units: a character and its marks. */
const MAX_REPEATED_CELL = 16

const RESET = '\x1bc'
const SKIPPED = '\x18\x1b[0m\r\n\x1b[7m output skipped \x1b[0m\r\n'

export interface TerminalEvents {
  send(message: PageMessage): void
  type(bytes: Uint8Array<ArrayBuffer>): void
  /** The user requested the keyboard back. */
  release(): void
}

/** Console of the guest: its output, terminal input, and its size. */
export class TerminalPanel {
  readonly #body = byId('terminal-body', HTMLElement)
  readonly #terminal: Terminal
  readonly #fit = new FitAddon()
  #decoder = newDecoder()
  #sequences = this.#newSequences()
  /** True while bytes are parsed whose queries this terminal must not answer. */
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
      // The guest could otherwise fill the browser's log with faults.
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

  /** Resets the terminal for a new connection, which sends the complete output again. */
  reset(): void {
    this.#decoder = newDecoder()
    this.#sequences = this.#newSequences()
    // Written in order with the output: the terminal may still process output of the previous connection.
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

  /** Sends the size of this terminal to the guest, if it is open. */
  sendSize(): void {
    if (!this.#terminal.element) return
    const { cols, rows } = this.#terminal
    this.events.send({ type: 'resize-terminal', columns: Math.min(1000, cols), rows: Math.min(1000, rows) })
  }

  /** True if the terminal handles a key, false if the page or the browser does. */
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
    // The browser pastes by itself, without a permission.
    return letter !== 'C' && letter !== 'V'
  }

  async #copy(): Promise<void> {
    if (!this.#terminal.hasSelection()) return
    try {
      await navigator.clipboard.writeText(this.#terminal.getSelection())
    } catch {
      // Not allowed by the browser: its own Copy command, which xterm.js supports, still works.
    }
  }

  #refit(): void {
    if (this.#body.clientHeight === 0) return
    if (!this.#terminal.element) {
      this.#terminal.open(this.#body)
      // If several tabs are open, the one with the focus sets the size.
      this.#terminal.textarea?.addEventListener('focus', () => this.sendSize())
    }
    this.#fit.fit()
  }

  #newSequences(): ControlSequences {
    return new ControlSequences(() => this.#terminal)
  }

  /** True if REP would repeat a cell with very many characters: the last one written, or the one under the cursor. */
  #isLongCell(): boolean {
    const { active } = this.#terminal.buffer
    const line = active.getLine(active.baseY + active.cursorY)
    return [0, 1, 2].some((back) => {
      const cell = line?.getCell(active.cursorX - back)
      return cell !== undefined && cell.getChars().length > MAX_REPEATED_CELL
    })
  }

  /** Drops queries (status, attributes, modes, colours) while the output must not be answered. */
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

/** Returns the letter of a key, or that of its position if the layout is not Latin. */
function letterOf({ key, code }: KeyboardEvent): string {
  return /^[a-z]$/i.test(key) ? key.toUpperCase() : code.replace(/^Key/, '')
}

function newDecoder(): TextDecoder {
  return new TextDecoder('utf-8', { ignoreBOM: true })
}
