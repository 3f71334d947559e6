import { isUsageError } from '../services/usage-error.ts'
import { INPUT_EVENTS, type InputEvent } from './input-event.ts'
import type { Cursor, Inspection, Pixels, Rect, ScanoutMode, StopReason } from './machine.ts'

/** Source of a byte stream: the terminal, or one of a command's two outputs. */
export const Stream = { TERMINAL: 0, STDOUT: 1, STDERR: 2 } as const
export type Stream = (typeof Stream)[keyof typeof Stream]

/** Maximum number of unacknowledged bytes of a stream; more wait in the guest. */
export const STREAM_WINDOW = 256 << 10

/**
 * Command from a machine to its engine, which forwards some to a device. Input (`isInput`) is acknowledged by
 * `input-handled` and `terminal` by `typed`, so that a bounded number of them is in transit.
 */
export type MachineCommand =
  | InputEvent
  | { readonly type: 'terminal'; readonly bytes: Uint8Array }
  | { readonly type: 'execute'; readonly command: string }
  /** Acknowledges bytes of a stream. */
  | { readonly type: 'taken'; readonly stream: Stream; readonly bytes: number }
  /** Acknowledges one of the `CoalescedReports`. */
  | { readonly type: 'report-received' }
  /** Acknowledges the last damage. */
  | { readonly type: 'damage-taken'; readonly scanout: number }
  /** Starts or stops in-place reading of a scanout, which includes its damage: the device then reports none. */
  | { readonly type: 'read-in-place'; readonly scanout: number; readonly inPlace: boolean }
  | { readonly type: 'read-pixels'; readonly id: number; readonly scanout: number; readonly rect: Rect | undefined }
  /** Sets the size of a balloon. `device`: id of a balloon. @default the first one */
  | { readonly type: 'resize-balloon'; readonly device?: string; readonly size: number }
  | { readonly type: 'inspect'; readonly id: number }
  /** Answered by `done`. */
  | { readonly type: 'pause' | 'resume' | 'save'; readonly id: number }
  | { readonly type: 'stop' }

export function isInput(command: MachineCommand): command is InputEvent {
  return Object.hasOwn(INPUT_EVENTS, command.type)
}

/** Report from an engine or a device to the machine. */
export type Report =
  | { readonly type: 'started' }
  /** The machine could not be made; `usage` if its options are wrong. */
  | { readonly type: 'refused'; readonly usage: boolean; readonly message: string }
  | { readonly type: 'progress'; readonly step: string }
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'mode'; readonly scanout: number; readonly mode: ScanoutMode | undefined }
  | { readonly type: 'damage'; readonly scanout: number; readonly rects: readonly Rect[] }
  | { readonly type: 'pixels'; readonly id: number; readonly pixels: Pixels | undefined }
  | { readonly type: 'cursor'; readonly scanout: number; readonly cursor: Cursor | undefined }
  | { readonly type: 'bytes'; readonly stream: Stream; readonly bytes: Uint8Array }
  /** Acknowledges one input command. */
  | { readonly type: 'input-handled' }
  /** Acknowledges `terminal`: the guest's port accepted all of it. */
  | { readonly type: 'typed' }
  /** Light of a keyboard. `device`: id of a keyboard other than the first one. */
  | { readonly type: 'led'; readonly code: number; readonly on: boolean; readonly device?: string }
  /** The executed command ended. */
  | { readonly type: 'executed'; readonly status: number }
  | { readonly type: 'inspection'; readonly id: number; readonly inspection: Inspection }
  /** Answers `pause`, `resume` and `save`. `bytes`: the snapshot. */
  | { readonly type: 'done'; readonly id: number; readonly bytes?: Uint8Array; readonly error?: string }
  /** The guest stopped by itself. */
  | { readonly type: 'ended'; readonly reason: StopReason }
  /** Answers `stop`: nothing runs, disks are flushed and closed. */
  | { readonly type: 'stopped' }

/** Report of a machine that could not be made. */
export function refusal(error: unknown): Report {
  const message = error instanceof Error ? error.message : String(error)
  return { type: 'refused', usage: isUsageError(error), message }
}
