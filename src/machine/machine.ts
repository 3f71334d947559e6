import type { Rect } from '../services/rect.ts'
import type { DeviceStateInspection, QueueStateInspection } from '../virtio/device-inspection.ts'

export type { Rect } from '../services/rect.ts'

/**
 * A running guest as its viewers and commands see it, whatever engine runs it.
 *
 *     const stopListening = machine.listen({ damage: (scanout, rect) => ... })
 *     await machine.start()
 *     const pixels = await machine.readPixels(0)
 *     await machine.stop()
 */
export interface Machine {
  /** Modes of the scanouts as they are now; undefined where one is off. */
  readonly scanouts: readonly (ScanoutMode | undefined)[]
  /** Resolves when the guest's first instruction ran; `listener.progress` tells the rest. */
  start(): Promise<void>
  /** Stops the guest: no request in flight, disks flushed. Safe to call twice, and after `stopped`. */
  stop(): Promise<void>
  /** @returns a function that ends it */
  listen(listener: MachineListener): () => void
  /** Pixels of a part (default: the whole) of a scanout, cut to its size; undefined where it is off. */
  readPixels(scanout: number, rect?: Rect): Promise<Pixels | undefined>
  /** The cursor's picture for a scanout, or undefined where it is hidden. */
  readonly cursors: readonly (Cursor | undefined)[]
  // Input, up to `resizeTerminal`: returns a promise while the machine is behind, which resolves when it takes more. A caller
  // that does not wait for it makes the machine's queue grow. Input for a guest that ended is dropped.
  /** A key by its Linux event code (KEY_A = 30), pressed or released. */
  key(code: number, pressed: boolean): void | Promise<void>
  /** Pointer position as a fraction of the scanout, 0 to 1. */
  pointer(scanout: number, x: number, y: number): void | Promise<void>
  /** A pointer button by its Linux event code (BTN_LEFT = 0x110). */
  button(code: number, pressed: boolean): void | Promise<void>
  /** Wheel steps, away from the user and to the right positive; fractions add up (high resolution). */
  wheel(vertical: number, horizontal: number): void | Promise<void>
  /** Asks the guest to use another size: a new preferred mode in its EDID. */
  resize(scanout: number, width: number, height: number): void | Promise<void>
  /** Input to the terminal (console port 0): all of it arrives, in order. */
  writeTerminal(bytes: Uint8Array): void | Promise<void>
  resizeTerminal(columns: number, rows: number): void | Promise<void>
  /**
   * Runs a shell command in the guest; resolves with its exit status when all its output was taken. One at a time; others wait
   * their turn.
   */
  exec(command: string, output: ExecOutput): Promise<number>
  inspect(): Promise<Inspection>
}

export interface ScanoutMode {
  readonly width: number
  readonly height: number
}

/** Rows of 32-bit pixels, bytes in the order B, G, R, X, without gaps. */
export interface Pixels extends Rect {
  readonly data: Uint8Array
}

/** Rows of 32-bit pixels, bytes in the order B, G, R, A, not premultiplied. */
export interface Cursor extends ScanoutMode {
  readonly data: Uint8Array
  readonly hotX: number
  readonly hotY: number
}

/** Takes a command's output. A promise holds more of it back, in the guest, until it settles. */
export interface ExecOutput {
  stdout(bytes: Uint8Array): void | Promise<void>
  stderr(bytes: Uint8Array): void | Promise<void>
}

/** What a machine tells. Calls are coalesced: a listener is never called faster than it can follow. */
export interface MachineListener {
  /** A step of the boot, for people: `kernel started`, `devices ready`. */
  progress?(step: string): void
  /** A scanout got another mode, or was switched off. */
  mode?(scanout: number, mode: ScanoutMode | undefined): void
  /** Pixels changed within the rectangle. */
  damage?(scanout: number, rect: Rect): void
  /** The cursor's picture changed or hid. */
  cursor?(scanout: number, cursor: Cursor | undefined): void
  /**
   * Output of the terminal (console port 0). A promise holds more of it back until it settles; a Linux guest whose console is
   * held back stands still.
   */
  terminal?(bytes: Uint8Array): void | Promise<void>
  /** Keyboard lights, by their Linux event code (LED_CAPSL = 1). */
  led?(code: number, on: boolean): void
  /** A line for the log: degraded paths with their reason, faults of the guest. */
  log?(line: string): void
  /** The guest ended by itself (power off, panic), or the engine failed. Called once. */
  stopped?(reason: StopReason): void
}

export interface StopReason {
  readonly kind: 'power-off' | 'panic' | 'failure' | 'requested'
  readonly message: string
}

/** Everything the device inspector shows. */
export interface Inspection {
  readonly devices: readonly DeviceInspection[]
}

export interface DeviceInspection extends DeviceStateInspection {
  /** Presentation of `state` beside the plain values. */
  readonly panel?: 'gpu' | undefined
}

export type QueueInspection = QueueStateInspection
