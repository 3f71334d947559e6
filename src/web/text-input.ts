import { make } from './dom.ts'

/** Edits that on-screen keyboards ask for instead of reporting a key, with the key. */
const EDIT_KEYS: Readonly<Record<string, string>> = {
  deleteContentBackward: 'Backspace',
  deleteContentForward: 'Delete',
}
const LINE_BREAKS: readonly string[] = ['insertLineBreak', 'insertParagraph']

/** What the element holds, so that there is something to delete. */
const CONTENT = ' '
/** `KeyboardEvent.keyCode` of a key that an input method has taken. */
const TAKEN = 229

export interface TextEvents {
  /** Text that was pasted, dictated, composed, or typed on a keyboard without physical keys. */
  text(text: string): void
  /** A key that such a keyboard asked for, by the browser's name. */
  key(name: string): void
}

/**
 * The element that has the focus while the screen is used: a text field that shows nothing, since input methods,
 * dictation and on-screen keyboards write into text fields only.
 */
export class TextInput {
  readonly element = make('textarea', 'screen')
  /** Set between a dead key and the end of its composition: the guest receives those keys, and composes by itself. */
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

  /** Whether a keydown is a key of the guest; otherwise an input method has taken it, and may write text. */
  isPhysical(event: KeyboardEvent): boolean {
    if (event.key === 'Dead') this.#isDeadKey = true
    if (this.#isDeadKey && (event.key === 'Dead' || event.isComposing)) return true
    this.#isDeadKey = false
    return !event.isComposing && event.keyCode !== TAKEN
  }

  #edited(event: InputEvent): void {
    // Edits of a composition cannot be prevented: its text counts when it ends.
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
