import type { SavedState } from '../../snapshot/saved-state.ts'
import { elements, integer, list, nested, nullable, record, stateShape, text } from '../../snapshot/shape.ts'
import { SnapshotError } from '../../snapshot/snapshot-error.ts'
import { decodeState, encodeState } from '../../snapshot/state-codec.ts'

const MAX_DEVICES = 64
const MAX_NAME = 256
/** Maximum size of the emulator's state in bytes. */
const MAX_EMULATOR = 2 ** 31 - 1

const STATE = stateShape('the snapshot', 1, {
  memoryMiB: integer(1, 4096),
  devices: list(
    record({
      id: text(MAX_NAME),
      kind: text(MAX_NAME),
      /** State of the PCI function and its device. */
      pci: nested,
      /** State of the device's host side. */
      host: nullable(nested),
    }),
    0,
    MAX_DEVICES,
  ),
  /** Processor, memory and the emulator's own devices. */
  emulator: elements(Uint8Array, 0, MAX_EMULATOR),
})

/** Saved machine: the emulator, and all devices. Files of disks are not part of it. */
export type MachineSnapshot = ReturnType<typeof STATE.read>

/** Device of a machine, as a snapshot names it. */
interface SnapshotDevice {
  readonly id: string
  readonly kind: string
}

export function encodeSnapshot(snapshot: MachineSnapshot): Uint8Array {
  return encodeState(STATE.write(snapshot) as SavedState)
}

/** @throws {SnapshotError} if the bytes are not a snapshot of this version */
export function decodeSnapshot(bytes: Uint8Array): MachineSnapshot {
  return STATE.read(decodeState(bytes))
}

/** Checks that a snapshot is one of a machine with these devices. @throws {SnapshotError} */
export function checkSnapshot(
  { memoryMiB, devices }: MachineSnapshot,
  machine: { readonly memoryMiB: number; readonly devices: readonly SnapshotDevice[] },
): void {
  if (memoryMiB !== machine.memoryMiB) {
    throw new SnapshotError(`the snapshot has ${memoryMiB} MiB of memory, and the machine ${machine.memoryMiB}`)
  }
  const saved = devices.map(({ id, kind }) => `${id} (${kind})`).join(', ')
  const wanted = machine.devices.map(({ id, kind }) => `${id} (${kind})`).join(', ')
  if (saved !== wanted) throw new SnapshotError(`the snapshot has the devices ${saved}, and the machine ${wanted}`)
}
