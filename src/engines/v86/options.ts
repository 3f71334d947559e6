import type { LogicalBlockSize } from '../../devices/virtio/block/block.ts'
/** What makes a guest; the worker gets it as its `workerData`. */
export interface V86MachineOptions {
  /** Files. */
  readonly kernel: string
  readonly initrd?: string
  readonly bios: string
  readonly vgaBios: string
  readonly commandLine: string
  readonly memoryMiB: number
  /** `/dev/vda` first. */
  readonly disks: readonly {
    readonly path: string
    readonly readOnly: boolean
    readonly logicalBlockSize?: LogicalBlockSize
  }[]
  /** Whether the GPU offers blob resources (default), which it reads in place. */
  readonly blob?: boolean
}
