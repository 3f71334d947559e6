/** Maximum value of a parameter: above every mode number and every size of a terminal. */
const MAX_PARAMETER = 9999
/** Maximum length of the parameters and intermediate bytes of a sequence; a longer sequence is dropped. */
const MAX_SEQUENCE = 256
/** Maximum length of an operating system or device control string; a longer one is dropped. */
const MAX_STRING = 4096

const ESC = '\x1b'
const BEL = 0x07
const CAN = 0x18
const SUB = 0x1a
const DEL = 0x7f
/** The C1 controls are C1_FIRST to C1_LAST; each stands for ESC and the character 0x40 below it. */
const C1_FIRST = 0x80
const C1_LAST = 0x9f

/** Start of a sequence: ESC or a C1 control. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this file is about
const INTRODUCER = /[\x1b\x80-\x9f]/g
/** A well-formed control sequence between its introducer and its final byte. */
const SEQUENCE = /^[<=>?]?[\d;:]*[ -/]*$/
/** A control sequence without prefix and intermediate bytes. */
const PLAIN = /^[\d;:]*$/
/** Parameters of a device control string. */
const STRING_PARAMETERS = /^[<=>?]?[\d;:]*/

/** Size of a terminal in characters, which bounds repetitions by one sequence. */
export interface TerminalSize {
  readonly cols: number
  readonly rows: number
}

/**
 * Bounds the parameters of a guest's control sequences, for a terminal that repeats as often as a parameter requests.
 *
 * Text passes unchanged. A sequence is collected, over any number of pieces, and passes when it is complete, in its
 * 7-bit form and with bounded parameters: counts that the terminal loops over by the size of the terminal, others by
 * 9999. Malformed, cancelled or too long sequences are dropped.
 *
 *     const sequences = new ControlSequences(() => terminal)
 *     sequences.bound('x\x1b[2147')     // 'x'
 *     sequences.bound('483647b')        // '\x1b[1920b' if the terminal has 80 columns and 24 rows
 */
export class ControlSequences {
  #state: 'text' | 'escape' | 'sequence' | 'string' = 'text'
  /** Characters after the introducer of the current sequence or string. */
  #collected = ''
  /**
   * Introducer of the string, without its ESC: `]` for OSC, `P` for DCS; `X`, `^` and `_` for strings that terminals
   * ignore.
   */
  #kind = ''

  constructor(private readonly size: () => TerminalSize) {}

  /** Adds a piece of output. @returns the output that passes now */
  bound(output: string): string {
    let bounded = ''
    for (let at = 0; at < output.length; ) {
      if (this.#state === 'text') {
        INTRODUCER.lastIndex = at
        const end = INTRODUCER.exec(output)?.index ?? output.length
        bounded += output.slice(at, end)
        at = end
        if (at < output.length) bounded += this.#begin(output[at++])
      } else {
        bounded += this.#next(output[at++])
      }
    }
    return bounded
  }

  /** Begins a sequence at an ESC or a C1 control. */
  #begin(character: string): string {
    this.#state = 'escape'
    this.#collected = ''
    return character === ESC ? '' : this.#introduce(String.fromCharCode(character.charCodeAt(0) - 0x40))
  }

  #next(character: string): string {
    const code = character.charCodeAt(0)
    if (code === CAN || code === SUB) return this.#end('')
    if (character === ESC || isC1(code)) {
      const ended = this.#state === 'string' ? this.#endString() : ''
      return ended + this.#begin(character)
    }
    if (this.#state === 'string') {
      if (code === BEL && this.#kind === ']') return this.#endString()
      return this.#collect(character, MAX_STRING)
    }
    // Other control characters within a sequence take effect at once.
    if (code < 0x20) return character
    if (code === DEL) return ''
    if (code > DEL) return this.#end('')
    if (this.#state === 'sequence') {
      return code < 0x40 ? this.#collect(character, MAX_SEQUENCE) : this.#endSequence(character)
    }
    if (code < 0x30) return this.#collect(character, MAX_SEQUENCE)
    return this.#collected === '' ? this.#introduce(character) : this.#end(`${ESC}${this.#collected}${character}`)
  }

  /** Handles the character after ESC, which determines the kind of sequence. */
  #introduce(character: string): string {
    if (character === '[') {
      this.#state = 'sequence'
      return ''
    }
    if (']PX^_'.includes(character)) {
      this.#state = 'string'
      this.#kind = character
      return ''
    }
    return this.#end(`${ESC}${character}`)
  }

  /** Collects one character more than `most`, which marks the sequence as too long. */
  #collect(character: string, most: number): string {
    if (this.#collected.length <= most) this.#collected += character
    return ''
  }

  #endSequence(final: string): string {
    const collected = this.#collected
    if (collected.length > MAX_SEQUENCE || !SEQUENCE.test(collected)) return this.#end('')
    const most = PLAIN.test(collected) ? this.#maxParameter(final) : MAX_PARAMETER
    return this.#end(`${ESC}[${boundNumbers(collected, most)}${final}`)
  }

  /** Ends a string. Only OSC and DCS pass: the other kinds have no effect. */
  #endString(): string {
    const collected = this.#collected
    if (collected.length > MAX_STRING) return this.#end('')
    if (this.#kind === ']') return this.#end(`${ESC}]${collected}\x07`)
    if (this.#kind !== 'P') return this.#end('')
    const bounded = collected.replace(STRING_PARAMETERS, (parameters) => boundNumbers(parameters, MAX_PARAMETER))
    return this.#end(`${ESC}P${bounded}${ESC}\\`)
  }

  #end(passes: string): string {
    this.#state = 'text'
    return passes
  }

  /**
   * Returns the maximum parameter of a control sequence. A larger count has the same effect, or repeats a character
   * over more than a screen.
   */
  #maxParameter(final: string): number {
    const { cols, rows } = this.size()
    if ('LMST'.includes(final)) return rows
    if ('IZ'.includes(final)) return cols
    return final === 'b' ? cols * rows : MAX_PARAMETER
  }
}

function isC1(code: number): boolean {
  return code >= C1_FIRST && code <= C1_LAST
}

function boundNumbers(parameters: string, most: number): string {
  return parameters.replace(/\d+/g, (digits) => String(Math.min(Number(digits), most)))
}
