import type { LogicalBlockSize } from '../../devices/virtio/block/block.ts'
/** What makes a guest; the worker gets it as its `workerData`. */
export interface V86MachineOptions {
  /** Files. */
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
  /** Whether the GPU offers blob resources (default), which it reads in place. */
  readonly blob?: boolean
  /**
   * Modules whose default export makes a device of your own: `() => VirtioDevice`, possibly asynchronous. They run in the
   * engine's thread. @default []
   */
  readonly devices?: readonly (URL | string)[]
}
