import type { ServerMessage, SocketFrame, StateMessage } from '../console/protocol.ts'
import { type Answer, Connection, type ConnectionState } from './connection.ts'
import { byId, setText } from './dom.ts'
import { Inspector } from './inspector.ts'
import { LEDS } from './key-codes.ts'
import { LogPanel } from './log-panel.ts'
import { Stage } from './stage.ts'
import { TerminalPanel } from './terminal-panel.ts'
import { Toolbar } from './toolbar.ts'
import { Typist } from './typist.ts'

const CONNECTION_TEXTS: Record<ConnectionState, string> = {
  connecting: 'Connecting…',
  open: 'Connected',
  lost: 'Connection lost, trying again…',
  refused: 'This address has expired. Open the one that the server printed.',
}

const stage: Stage = new Stage({
  send: (message) => connection.send(message),
  text: (text) => typist.type(text),
  escape: () => typist.stop(),
  release: () => toolbar.focus(),
})
const typist: Typist = new Typist(stage.keyboard, {
  send: (message) => connection.send(message),
  report: (text) => setText(byId('typing', HTMLElement), text),
})
const terminal = new TerminalPanel({
  send: (message) => connection.send(message),
  type: (bytes) => connection.sendTerminal(bytes),
  release: () => toolbar.focus(),
})
const inspector = new Inspector((message) => connection.send(message))
const log = new LogPanel()
const toolbar = new Toolbar(stage, typist, terminal, inspector)
const connection = new Connection({ state: showConnection, frame: showFrame, message: showMessage })

function showConnection(state: ConnectionState, why: string): void {
  const place = byId('connection', HTMLElement)
  place.dataset['state'] = state
  document.documentElement.dataset['connection'] = state
  setText(byId('connection-text', HTMLElement), why ? `${CONNECTION_TEXTS[state]} (${why})` : CONNECTION_TEXTS[state])
  if (state !== 'open') {
    stage.releaseAll()
    typist.stop()
    inspector.setConnected(false)
  }
}

function showFrame(frame: SocketFrame, answer: Answer): void {
  if (frame.kind === 'terminal') terminal.write(frame, answer)
  else stage.show(frame, answer)
}

function showMessage(message: ServerMessage, answer: Answer): void {
  switch (message.type) {
    case 'hello':
      terminal.reset()
      log.reset()
      inspector.setConnected(true)
      break
    case 'state':
      showState(message)
      answer({ type: 'done', stream: 'state' })
      break
    case 'inspection':
      answer({ type: 'done', stream: 'inspection' })
      inspector.show(message)
      typist.inspected(message)
      break
  }
}

function showState(state: StateMessage): void {
  log.append(state)
  stage.keyboard.locks.lit(state.leds)
  for (const { code, name } of LEDS) {
    const light = byId(`led-${name.toLowerCase()}`, HTMLElement)
    const isOn = state.leds.includes(code)
    light.classList.toggle('on', isOn)
    light.setAttribute('aria-label', `${name} Lock ${isOn ? 'on' : 'off'}`)
  }
  const ended = byId('stopped', HTMLElement)
  ended.hidden = state.stopped === undefined
  if (state.stopped) setText(ended, `The guest has stopped: ${state.stopped.message}`)
}
