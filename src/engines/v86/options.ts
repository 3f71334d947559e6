import type { AddedDevice } from '../../catalogue/machine-device.ts'
import type { LogicalBlockSize } from '../../devices/virtio/block/block.ts'

/** Guest in v86. */
export interface V86MachineOptions {
  /** Path of the kernel. */
  readonly kernel: string
  readonly initrd?: string
  readonly bios: string
  readonly vgaBios: string
  readonly commandLine: string
  /** Memory of the guest in MiB. @default that of the snapshot, or 256 */
  readonly memoryMiB?: number
  /** Disk images, `/dev/vda` first. @default [] */
  readonly disks?: readonly {
    readonly path: string
    readonly readOnly: boolean
    readonly logicalBlockSize?: LogicalBlockSize
  }[]
  /** True if the GPU offers blob resources, which it reads in place. @default true */
  readonly blob?: boolean
  /**
   * More devices: kinds of the catalogue, and modules whose default export creates a device of your own: `() => VirtioDevice`,
   * possibly asynchronous. They run in the engine's thread. @default []
   */
  readonly devices?: readonly (URL | string | AddedDevice)[]
  /**
   * Snapshot that the guest continues from, instead of booting. Devices and memory must be those of the saved machine. @see
   * Machine.save
   * @default none
   */
  readonly snapshot?: Uint8Array
  /** Restores a snapshot although the file of a disk has changed since. @default false */
  readonly acceptsChanges?: boolean
  /** Modules that add kinds of devices to the catalogue. @see addPlugins @default [] */
  readonly plugins?: readonly string[]
}
