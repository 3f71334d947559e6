import type { Rect } from '../services/rect.ts'
import type { DeviceStateInspection, QueueStateInspection } from '../virtio/device-inspection.ts'
import type { InputEvent } from './input-event.ts'

export type { Rect } from '../services/rect.ts'
export type { InputEvent } from './input-event.ts'

/**
 * Running guest with its devices, independent of the engine that runs it.
 *
 *     const stopListening = machine.listen({ damage: (scanout, rect) => ... })
 *     await machine.start()
 *     const pixels = await machine.readPixels(0)
 *     await machine.stop()
 */
export interface Machine {
  /** Current modes of the scanouts; undefined for one that is off. Those of the second GPU begin with number 16. */
  readonly scanouts: readonly (ScanoutMode | undefined)[]
  /** Resolves when the guest executed its first instruction. Later boot steps are reported by `listener.progress`. */
  start(): Promise<void>
  /** Stops the guest: completes requests in flight and flushes disks. Idempotent, and allowed after `stopped`. */
  stop(): Promise<void>
  /** Adds a listener. @returns a function that removes it */
  listen(listener: MachineListener): () => void
  /**
   * Reads pixels of a scanout, clipped to its size.
   * @param rect default: all
   * @returns undefined if the scanout is off
   */
  readPixels(scanout: number, rect?: Rect): Promise<Pixels | undefined>
  /** Pictures of the scanouts' cursors; undefined for one that is hidden. */
  readonly cursors: readonly (Cursor | undefined)[]
  /**
   * Sends an input event: a key, a button, the pointer, the wheel, or another size of a screen or of the terminal.
   *
   *     machine.input({ type: 'key', code: 30, pressed: true })                // KEY_A
   *     machine.input({ type: 'pointer', scanout: 0, x: 0.5, y: 0.25 })
   *     machine.input({ type: 'key', device: 'input-0', code: 30, pressed: true })
   *
   * Input for a guest that stopped, or for a device that does not exist, is dropped.
   * @returns a promise while the machine is behind; it resolves when the machine accepts more. A caller that does not
   * wait grows the machine's queue.
   */
  input(event: InputEvent): void | Promise<void>
  /** Sends input to the terminal (console port 0). All of it arrives, in order. @returns as `input` does */
  writeTerminal(bytes: Uint8Array): void | Promise<void>
  /**
   * Runs a shell command in the guest. One command runs at a time; further ones wait.
   * @returns its exit status, after all its output was accepted
   */
  exec(command: string, output: ExecOutput): Promise<number>
  inspect(): Promise<Inspection>
  /**
   * Asks the guest for a balloon of `size` bytes: memory that it does without, and that goes to the host. `inspect` shows the size
   * that it reached.
   * @param device id of the balloon. @default the first one
   */
  resizeBalloon(size: number, device?: string): void
  /** Stops the processor until `resume`. @throws {Error} if the engine cannot */
  pause(): Promise<void>
  resume(): Promise<void>
  /**
   * Returns a snapshot of the machine, from which another one with the same devices continues. The guest is paused
   * meanwhile. Files of disks are not part of it: they must not change before it is restored.
   * @throws {Error} if the engine cannot, a command is running in the guest, or the guest has stopped
   */
  save(): Promise<Uint8Array>
}

export interface ScanoutMode {
  readonly width: number
  readonly height: number
}

/** Rows of 32-bit pixels without gaps; byte order B, G, R, X. */
export interface Pixels extends Rect {
  readonly data: Uint8Array
}

/** Rows of 32-bit pixels; byte order B, G, R, A, not premultiplied. */
export interface Cursor extends ScanoutMode {
  readonly data: Uint8Array
  readonly hotX: number
  readonly hotY: number
}

/** Receives the output of a command. While a returned promise is pending, further output waits in the guest. */
export interface ExecOutput {
  stdout(bytes: Uint8Array): void | Promise<void>
  stderr(bytes: Uint8Array): void | Promise<void>
}

/** Listener for a machine's events. Events are coalesced, so that a slow listener receives fewer of them. */
export interface MachineListener {
  /** A step of the boot as text: `kernel started`, `devices ready`. */
  progress?(step: string): void
  /** The mode of a scanout changed; undefined if it was switched off. */
  mode?(scanout: number, mode: ScanoutMode | undefined): void
  /** Pixels changed within the rectangle. */
  damage?(scanout: number, rect: Rect): void
  /** The picture of the cursor changed; undefined if the cursor is hidden. */
  cursor?(scanout: number, cursor: Cursor | undefined): void
  /**
   * Output of the terminal (console port 0). While a returned promise is pending, further output waits in the guest; a
   * Linux guest stops at writes to a console that is held back.
   */
  terminal?(bytes: Uint8Array): void | Promise<void>
  /**
   * Keyboard lights, by their Linux event code (LED_CAPSL = 1).
   * @param device id of the keyboard, if it is not the first one
   */
  led?(code: number, on: boolean, device?: string): void
  /** Line for the log: a fallback with its reason, or a fault of the guest. */
  log?(line: string): void
  /** The guest stopped by itself (power off, panic), or the engine failed. Called once. */
  stopped?(reason: StopReason): void
}

export interface StopReason {
  readonly kind: 'power-off' | 'panic' | 'failure' | 'requested'
  readonly message: string
}

/** State that the device inspector shows. */
export interface Inspection {
  readonly devices: readonly DeviceInspection[]
}

export interface DeviceInspection extends DeviceStateInspection {
  /** Presentation of `state` beside the plain values. */
  readonly panel?: 'gpu' | undefined
}

export type QueueInspection = QueueStateInspection
