/** Keys that are pressed together, modifiers first, by the browser's names. */
export type Chord = readonly string[]

/** Keys with characters, by row. */
const ROWS = [
  'Backquote Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal',
  'KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Backslash',
  'KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote',
  'IntlBackslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash',
].map((row) => row.split(' '))

const COMBINING_GRAVE = '\u0300'
const COMBINING_ACUTE = '\u0301'
const COMBINING_CIRCUMFLEX = '\u0302'
const COMBINING_DIAERESIS = '\u0308'

/** Characters of a layout: a string per row, a character per key; a space for a key without one. */
interface LayoutRows {
  readonly name: string
  readonly plain: readonly string[]
  readonly shift: readonly string[]
  /** Characters with AltGr, by key. */
  readonly altGraph?: Readonly<Record<string, string>>
  /** Dead keys: chords that add an accent to the next character, by the combining character of the accent. */
  readonly dead?: Readonly<Record<string, Chord>>
}

/** Layouts of the guest, as in Linux. */
const LAYOUTS = {
  us: {
    name: 'US English',
    plain: ['`1234567890-=', 'qwertyuiop[]\\', "asdfghjkl;'", ' zxcvbnm,./'],
    shift: ['~!@#$%^&*()_+', 'QWERTYUIOP{}|', 'ASDFGHJKL:"', ' ZXCVBNM<>?'],
  },
  gb: {
    name: 'UK English',
    plain: ['`1234567890-=', 'qwertyuiop[]#', "asdfghjkl;'", '\\zxcvbnm,./'],
    shift: ['¬!"£$%^&*()_+', 'QWERTYUIOP{}~', 'ASDFGHJKL:@', '|ZXCVBNM<>?'],
    altGraph: { Digit4: '€' },
  },
  de: {
    name: 'German',
    plain: [' 1234567890ß ', 'qwertzuiopü+#', 'asdfghjklöä', '<yxcvbnm,.-'],
    shift: ['°!"§$%&/()=? ', "QWERTZUIOPÜ*'", 'ASDFGHJKLÖÄ', '>YXCVBNM;:_'],
    altGraph: {
      ...{ Digit2: '²', Digit3: '³', Digit7: '{', Digit8: '[', Digit9: ']', Digit0: '}', Minus: '\\' },
      ...{ KeyQ: '@', KeyE: '€', KeyM: 'µ', BracketRight: '~', IntlBackslash: '|' },
    },
    dead: {
      [COMBINING_CIRCUMFLEX]: ['Backquote'],
      [COMBINING_ACUTE]: ['Equal'],
      [COMBINING_GRAVE]: ['ShiftLeft', 'Equal'],
    },
  },
  fr: {
    name: 'French',
    plain: ['²&é"\'(-è_çà)=', 'azertyuiop $*', 'qsdfghjklmù', '<wxcvbn,;:!'],
    shift: [' 1234567890°+', 'AZERTYUIOP £µ', 'QSDFGHJKLM%', '>WXCVBN?./§'],
    altGraph: {
      ...{ Digit2: '~', Digit3: '#', Digit4: '{', Digit5: '[', Digit6: '|', Digit7: '`', Digit8: '\\' },
      ...{ Digit9: '^', Digit0: '@', Minus: ']', Equal: '}', KeyE: '€' },
    },
    dead: { [COMBINING_CIRCUMFLEX]: ['BracketLeft'], [COMBINING_DIAERESIS]: ['ShiftLeft', 'BracketLeft'] },
  },
} as const satisfies Record<string, LayoutRows>

export type LayoutId = keyof typeof LAYOUTS
export const LAYOUT_IDS = Object.keys(LAYOUTS) as readonly LayoutId[]

/** Accents as characters of their own, with their combining characters. */
const SPACING = { '^': COMBINING_CIRCUMFLEX, '`': COMBINING_GRAVE }

/**
 * Keyboard layout of the guest: the keys that write a character.
 *
 *     new Layout('de').chordsOf('@', false)    // [['AltRight', 'KeyQ']]
 *     new Layout('de').chordsOf('é', false)    // [['Equal'], ['KeyE']]
 *     new Layout('us').chordsOf('é', false)    // undefined
 */
export class Layout {
  readonly name: string
  readonly #chords = new Map<string, Chord>([
    [' ', ['Space']],
    ['\n', ['Enter']],
    ['\t', ['Tab']],
  ])
  readonly #dead: ReadonlyMap<string, Chord>
  /** Accents that are written by a dead key and the space bar. */
  readonly #accents = new Map<string, readonly Chord[]>()

  constructor(id: LayoutId) {
    const layout: LayoutRows = LAYOUTS[id]
    this.name = layout.name
    this.#dead = new Map(Object.entries(layout.dead ?? {}))
    this.#addRows(layout.plain, [])
    this.#addRows(layout.shift, ['ShiftLeft'])
    for (const [key, character] of Object.entries(layout.altGraph ?? {})) this.#add(character, ['AltRight', key])
    for (const [character, accent] of Object.entries(SPACING)) {
      const dead = this.#dead.get(accent)
      if (dead) this.#accents.set(character, [dead, ['Space']])
    }
  }

  /**
   * Returns the chords that write a character; undefined if the layout does not have it.
   * @param character one code point, in normal form C
   * @param capsLock true if Caps Lock is on in the guest
   */
  chordsOf(character: string, capsLock: boolean): readonly Chord[] | undefined {
    const chord = this.#chords.get(character)
    if (chord) return [capsLock && this.#isLetter(character, chord) ? inverted(chord) : chord]
    const [base, accent, ...others] = character.normalize('NFD')
    const dead = this.#dead.get(accent ?? '')
    if (dead && others.length === 0) {
      const rest = this.chordsOf(base, capsLock)
      return rest && [dead, ...rest]
    }
    return this.#accents.get(character)
  }

  #addRows(rows: readonly string[], modifiers: Chord): void {
    for (const [row, characters] of rows.entries()) {
      for (const [column, character] of [...characters].entries()) {
        if (character !== ' ') this.#add(character, [...modifiers, ROWS[row][column]])
      }
    }
  }

  /** Adds a chord, unless the character has one: the first one has the fewest modifiers. */
  #add(character: string, chord: Chord): void {
    if (!this.#chords.has(character)) this.#chords.set(character, chord)
  }

  /** True if Caps Lock changes the character: its upper case is on the same key. */
  #isLetter(character: string, chord: Chord): boolean {
    const other = character === character.toLowerCase() ? character.toUpperCase() : character.toLowerCase()
    return other !== character && this.#chords.get(other)?.at(-1) === chord.at(-1)
  }
}

function inverted(chord: Chord): Chord {
  return chord[0] === 'ShiftLeft' ? chord.slice(1) : ['ShiftLeft', ...chord]
}
