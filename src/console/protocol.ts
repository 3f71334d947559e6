/**
 * Messages over the WebSocket between server and page. Safe for browsers: both sides import this module.
 *
 * Server to page: binary frames for pixels, cursors and terminal output, JSON for the rest. Each message belongs to a
 * stream (a scanout, the terminal, the state, the inspection). A stream has at most one message that the page has not
 * acknowledged. Page to server: binary for terminal input (only its bytes), JSON for the rest. At most a window of
 * terminal input is in transit. A page is not read while the machine is behind with its input.
 */
import { INPUT_EVENTS, isScanout } from '../machine/input-event.ts'
import type { DeviceInspection, Rect, ScanoutMode, StopReason } from '../machine/machine.ts'
import { MessageError, type MessageOf, oneOf, parseMessage } from '../wire/json-message.ts'

/** Maximum length of a message from the page, in bytes. Text that is pasted into the terminal is split accordingly. */
export const MAX_PAGE_MESSAGE = 16 * 1024

/** Bytes of terminal input that the page may send before the server acknowledges them with `typed`. */
export const TERMINAL_WINDOW = 64 * 1024

/** Codes of close frames from the server, in addition to the standard ones. */
export const CloseCode = { GOING_AWAY: 1001, POLICY_VIOLATION: 1008 } as const

// ---- page to server ------------------------------------------------------------------------------------------------

/** JSON messages of the page, with the checks of their fields. */
const PAGE_MESSAGES = {
  ...INPUT_EVENTS,
  /** Acknowledges the frame of a scanout: it is on the canvas. */
  drawn: { scanout: isScanout },
  /** Acknowledges the last message of a stream. */
  done: { stream: oneOf('terminal', 'state', 'inspection') },
  /** Requests one `inspection`. */
  inspect: {},
} as const

export type PageMessage = MessageOf<typeof PAGE_MESSAGES>

/** Parses a message of the page. @throws {MessageError} */
export function parsePageMessage(text: string): PageMessage {
  return parseMessage(PAGE_MESSAGES, text)
}

// ---- server to page ------------------------------------------------------------------------------------------------

/** First message of a connection. The complete state follows. */
export interface HelloMessage {
  readonly type: 'hello'
}

/** Changes that the tab has not received; the complete state for a new tab. */
export interface StateMessage {
  readonly type: 'state'
  /** Linux event codes of the keyboard lights that are on. */
  readonly leds: readonly number[]
  readonly log: readonly string[]
  /** Number of log lines that this tab missed. */
  readonly logSkipped: number
  readonly stopped?: StopReason
}

/** State of the devices, or the reason why they cannot be inspected. */
export interface InspectionMessage {
  readonly type: 'inspection'
  readonly devices: readonly DeviceInspection[]
  readonly error?: string
}

/** The machine accepted this many more bytes of terminal input. */
export interface TypedMessage {
  readonly type: 'typed'
  readonly bytes: number
}

export type ServerMessage = HelloMessage | StateMessage | InspectionMessage | TypedMessage

// Binary frames, little-endian. Headers are multiples of 4 bytes, so that pixels can be viewed as 32-bit words.
//
//   screen     0      1         2       4       6        8
//              | kind | scanout | rects | width | height | then for each rect:
//              0   2   4       6        8
//              | x | y | width | height | width * height pixels, B G R X
//              A width of 0: the scanout is off. Last frame of a scanout's message; the page answers with `drawn`.
//
//   cursor     0      1         2      4      6       8        10   12
//              | kind | scanout | hotX | hotY | width | height | 0  | width * height pixels, B G R A, not premultiplied
//              A width of 0: hidden. A screen frame of the same scanout always follows.
//
//   terminal   0      1       2
//              | kind | flags | bytes
//
const FrameKind = { SCREEN: 1, CURSOR: 2, TERMINAL: 3 } as const

const SCREEN_HEADER = 8
const RECT_HEADER = 8
const CURSOR_HEADER = 12
const TERMINAL_HEADER = 2

const TerminalFlag = {
  /** The terminal must not answer queries in these bytes: they were answered before, or another tab answers them. */
  QUIET: 1,
  /** Output before these bytes was dropped. */
  SKIPPED: 2,
} as const

export function screenHeader(scanout: number, rects: number, mode: ScanoutMode | undefined): Uint8Array {
  const { header, view } = newHeader(SCREEN_HEADER, FrameKind.SCREEN, scanout)
  view.setUint16(2, rects, true)
  view.setUint16(4, mode?.width ?? 0, true)
  view.setUint16(6, mode?.height ?? 0, true)
  return header
}

export function rectHeader(rect: Rect): Uint8Array {
  return new Uint8Array(Uint16Array.of(rect.x, rect.y, rect.width, rect.height).buffer)
}

export function cursorHeader(
  scanout: number,
  cursor: { hotX: number; hotY: number; width: number; height: number } | undefined,
): Uint8Array {
  const { header, view } = newHeader(CURSOR_HEADER, FrameKind.CURSOR, scanout)
  view.setUint16(2, cursor?.hotX ?? 0, true)
  view.setUint16(4, cursor?.hotY ?? 0, true)
  view.setUint16(6, cursor?.width ?? 0, true)
  view.setUint16(8, cursor?.height ?? 0, true)
  return header
}

export function terminalHeader(quiet: boolean, skipped: boolean): Uint8Array {
  return Uint8Array.of(FrameKind.TERMINAL, (quiet ? TerminalFlag.QUIET : 0) | (skipped ? TerminalFlag.SKIPPED : 0))
}

function newHeader(size: number, kind: number, scanout: number): { header: Uint8Array; view: DataView } {
  const header = new Uint8Array(size)
  header[0] = kind
  header[1] = scanout
  return { header, view: new DataView(header.buffer) }
}

/** Rectangle of pixels in a frame. `words` is a view of the frame: one word per pixel. */
interface RectFrame extends Rect {
  readonly words: Uint32Array<ArrayBuffer>
}

export type SocketFrame =
  | {
      readonly kind: 'screen'
      readonly scanout: number
      readonly mode: ScanoutMode | undefined
      readonly rects: RectFrame[]
    }
  | {
      readonly kind: 'cursor'
      readonly scanout: number
      readonly hotX: number
      readonly hotY: number
      readonly width: number
      readonly height: number
      readonly words: Uint32Array<ArrayBuffer>
    }
  | { readonly kind: 'terminal'; readonly quiet: boolean; readonly skipped: boolean; readonly bytes: Uint8Array }

/** Decodes a binary frame. @throws {MessageError} if the frame is malformed */
export function decodeFrame(frame: ArrayBuffer): SocketFrame {
  const view = new DataView(frame)
  try {
    switch (view.getUint8(0)) {
      case FrameKind.SCREEN:
        return decodeScreen(frame, view)
      case FrameKind.CURSOR: {
        const width = view.getUint16(6, true)
        const height = view.getUint16(8, true)
        return {
          kind: 'cursor',
          scanout: view.getUint8(1),
          hotX: view.getUint16(2, true),
          hotY: view.getUint16(4, true),
          width,
          height,
          words: new Uint32Array(frame, CURSOR_HEADER, width * height),
        }
      }
      case FrameKind.TERMINAL: {
        const flags = view.getUint8(1)
        return {
          kind: 'terminal',
          quiet: (flags & TerminalFlag.QUIET) !== 0,
          skipped: (flags & TerminalFlag.SKIPPED) !== 0,
          bytes: new Uint8Array(frame, TERMINAL_HEADER),
        }
      }
    }
  } catch (error) {
    if (error instanceof RangeError) throw new MessageError('frame too short')
    throw error
  }
  throw new MessageError('unknown kind of frame')
}

function decodeScreen(frame: ArrayBuffer, view: DataView): SocketFrame {
  const width = view.getUint16(4, true)
  const height = view.getUint16(6, true)
  const rects: RectFrame[] = []
  let at = SCREEN_HEADER
  for (let left = view.getUint16(2, true); left > 0; left--) {
    const rect = {
      x: view.getUint16(at, true),
      y: view.getUint16(at + 2, true),
      width: view.getUint16(at + 4, true),
      height: view.getUint16(at + 6, true),
    }
    const words = new Uint32Array(frame, at + RECT_HEADER, rect.width * rect.height)
    rects.push({ ...rect, words })
    at += RECT_HEADER + words.byteLength
  }
  return { kind: 'screen', scanout: view.getUint8(1), mode: width > 0 ? { width, height } : undefined, rects }
}
