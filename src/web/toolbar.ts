import { byId } from './dom.ts'
import type { Inspector } from './inspector.ts'
import { LAYOUT_IDS, Layout } from './layouts.ts'
import { readPreference, writePreference } from './preferences.ts'
import type { Stage } from './stage.ts'
import type { TerminalPanel } from './terminal-panel.ts'
import type { Typist } from './typist.ts'

const NO_CLIPBOARD =
  "The browser does not let the page read the clipboard. Click the screen, then use the browser's own Paste command"

/** Buttons above the screen, and the choice of the layout below it. */
export class Toolbar {
  constructor(
    private readonly stage: Stage,
    private readonly typist: Typist,
    terminal: TerminalPanel,
    inspector: Inspector,
  ) {
    byId('full-screen', HTMLButtonElement).disabled = !document.fullscreenEnabled
    onClick('full-screen', () => void this.#fullScreen())
    onClick('ctrl-alt-del', () => stage.keyboard.chord(['ControlLeft', 'AltLeft', 'Delete']))
    onClick('paste', () => void this.#paste())
    layoutChoice(typist)
    onClick('screenshot', () => void this.#screenshot())
    toggle('fit', true, (isOn) => stage.setFits(isOn))
    toggle('follow', false, (isOn) => stage.setFollows(isOn))
    panel('terminal', true, (isOpen, isUser) => {
      if (isOpen && isUser) requestAnimationFrame(() => terminal.focus())
    })
    panel('inspector', false, (isOpen) => inspector.setOpen(isOpen))
    panel('log', false, () => {})
  }

  /** Takes the keyboard back from the guest. */
  focus(): void {
    if (document.fullscreenElement) void document.exitFullscreen()
    byId('fit', HTMLButtonElement).focus()
  }

  async #fullScreen(): Promise<void> {
    try {
      await byId('stage', HTMLElement).requestFullscreen({ navigationUI: 'hide' })
      this.stage.current?.focus()
      // If supported, Escape and similar keys are sent to the guest too; holding Escape leaves full screen.
      await (navigator as { keyboard?: { lock(): Promise<void> } }).keyboard?.lock()
    } catch {
      // Not allowed by the browser or its user: the page stays as it is.
    }
  }

  async #paste(): Promise<void> {
    try {
      const text = await navigator.clipboard.readText()
      // The screen needs the focus, so that Escape stops typing.
      this.stage.current?.focus()
      this.typist.type(text)
    } catch {
      this.typist.report(NO_CLIPBOARD)
    }
  }

  async #screenshot(): Promise<void> {
    const picture = await this.stage.current?.screenshot()
    if (!picture) return
    const link = document.createElement('a')
    link.href = URL.createObjectURL(picture)
    link.download = `guest-screen-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.png`
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
  }
}

function onClick(id: string, act: () => void): void {
  byId(id, HTMLButtonElement).addEventListener('click', act)
}

/** Sets up a button with two states. The state is kept between visits. */
function toggle(id: string, otherwise: boolean, apply: (isOn: boolean, isUser: boolean) => void): void {
  const button = byId(id, HTMLButtonElement)
  const set = (isOn: boolean, isUser: boolean): void => {
    button.setAttribute('aria-pressed', String(isOn))
    apply(isOn, isUser)
  }
  set(readPreference(id, ['yes', 'no'], otherwise ? 'yes' : 'no') === 'yes', false)
  button.addEventListener('click', () => {
    const isOn = button.getAttribute('aria-pressed') !== 'true'
    writePreference(id, isOn ? 'yes' : 'no')
    set(isOn, true)
  })
}

/** Sets up a panel with its button, `show-NAME`. */
function panel(name: string, otherwise: boolean, apply: (isOpen: boolean, isUser: boolean) => void): void {
  const element = byId(name, HTMLElement)
  toggle(`show-${name}`, otherwise, (isOpen, isUser) => {
    element.hidden = !isOpen
    apply(isOpen, isUser)
  })
}

/** Sets up the choice of the guest's layout, which determines the keys for a text. */
function layoutChoice(typist: Typist): void {
  const select = byId('layout', HTMLSelectElement)
  for (const id of LAYOUT_IDS) select.append(new Option(new Layout(id).name, id))
  select.value = readPreference('layout', LAYOUT_IDS, 'us')
  const choose = (): void => {
    const id = LAYOUT_IDS.find((one) => one === select.value)
    if (id) typist.layout = new Layout(id)
  }
  choose()
  select.addEventListener('change', () => {
    choose()
    writePreference('layout', select.value)
  })
}
