import { make } from './dom.ts'

/** Edits that on-screen keyboards report instead of a key, with the key. */
const EDIT_KEYS: Readonly<Record<string, string>> = {
  deleteContentBackward: 'Backspace',
  deleteContentForward: 'Delete',
}
const LINE_BREAKS: readonly string[] = ['insertLineBreak', 'insertParagraph']

/** Content of the element, so that there is a character to delete. */
const CONTENT = ' '
/** `KeyboardEvent.keyCode` of a key that an input method consumed. */
const CONSUMED = 229

export interface TextEvents {
  /** Text was pasted, dictated, composed, or typed on a keyboard without physical keys. */
  text(text: string): void
  /** Such a keyboard requested a key, by the browser's name. */
  key(name: string): void
}

/**
 * Invisible text field that has the focus while the screen is used: input methods, dictation and on-screen keyboards
 * write only into text fields.
 */
export class TextInput {
  readonly element = make('textarea', 'screen')
  /** True between a dead key and the end of its composition: the guest receives those keys, and composes itself. */
  #isDeadKey = false

  constructor(private readonly events: TextEvents) {
    const { element } = this
    element.rows = 1
    element.spellcheck = false
    for (const name of ['autocapitalize', 'autocomplete', 'autocorrect']) element.setAttribute(name, 'off')
    element.addEventListener('focus', () => this.#clear())
    element.addEventListener('beforeinput', (event) => this.#edited(event))
    element.addEventListener('input', (event) => {
      if (!(event as InputEvent).isComposing) this.#clear()
    })
    element.addEventListener('compositionstart', () => element.classList.add('composing'))
    element.addEventListener('compositionend', ({ data }) => this.#composed(data))
    element.addEventListener('paste', (event) => {
      event.preventDefault()
      events.text(event.clipboardData?.getData('text/plain') ?? '')
    })
  }

  /** True if a keydown is a key of the guest. Otherwise an input method consumed it, and may write text. */
  isPhysical(event: KeyboardEvent): boolean {
    if (event.key === 'Dead') this.#isDeadKey = true
    if (this.#isDeadKey && (event.key === 'Dead' || event.isComposing)) return true
    this.#isDeadKey = false
    return !event.isComposing && event.keyCode !== CONSUMED
  }

  #edited(event: InputEvent): void {
    // Edits during a composition cannot be prevented: its text is used when it ends.
    if (event.isComposing || event.inputType === 'insertCompositionText') return
    event.preventDefault()
    const key = EDIT_KEYS[event.inputType]
    const text = LINE_BREAKS.includes(event.inputType)
      ? '\n'
      : (event.data ?? event.dataTransfer?.getData('text/plain'))
    if (key) this.events.key(key)
    else if (text) this.events.text(text)
  }

  #composed(text: string): void {
    this.element.classList.remove('composing')
    if (!this.#isDeadKey) this.events.text(text)
    this.#isDeadKey = false
    this.#clear()
  }

  #clear(): void {
    this.element.value = CONTENT
    this.element.setSelectionRange(CONTENT.length, CONTENT.length)
  }
}
