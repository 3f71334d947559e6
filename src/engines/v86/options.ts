import type { LogicalBlockSize } from '../../devices/virtio/block/block.ts'
/** Options of a guest, passed to the worker as its `workerData`. */
export interface V86MachineOptions {
  /** Paths of the kernel, initial ramdisk and firmware files. */
  readonly kernel: string
  readonly initrd?: string
  readonly bios: string
  readonly vgaBios: string
  readonly commandLine: string
  /** Memory of the guest in MiB. @default 256 */
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
   * Modules whose default export creates a custom device: `() => VirtioDevice`, possibly asynchronous. They run in the
   * engine's thread.
   * @default []
   */
  readonly devices?: readonly (URL | string)[]
}
