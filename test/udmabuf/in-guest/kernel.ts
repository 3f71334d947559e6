import { openSync, readFileSync, writeFileSync } from 'node:fs'
import { Descriptor } from '../../../src/host/linux/descriptor.ts'
import { Errno } from '../../../src/host/linux/errno.ts'
import { ioctl } from '../../../src/host/linux/posix.ts'
import { SystemCallError } from '../../../src/host/linux/system-call-error.ts'
import { DmaBuf } from '../../../src/host/linux/udmabuf/dma-buf.ts'
import {
  createArgument,
  createListArgument,
  type FileExtent,
  Request,
} from '../../../src/host/linux/udmabuf/protocol.ts'

/** The device file of udmabuf, used without our checks. */
export const device = new Descriptor(openSync('/dev/udmabuf', 'r'), '/dev/udmabuf')

/** Result of a system call: `ok`, or the name of the error. */
export function outcome(attempt: () => unknown): string {
  try {
    attempt()
    return 'ok'
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error
    // Node has no name for this error.
    return error.errno === Errno.EBADFD ? 'EBADFD' : error.code
  }
}

export function create(extent: FileExtent, flags?: number): DmaBuf {
  return buffer(ioctl('a test', device.fd, Request.UDMABUF_CREATE, createArgument(extent, flags)))
}

export function createList(extents: readonly FileExtent[]): DmaBuf {
  return buffer(ioctl('a test', device.fd, Request.UDMABUF_CREATE_LIST, createListArgument(extents)))
}

export function creating(extent: FileExtent, flags?: number): string {
  return outcome(() => create(extent, flags).close())
}

export function creatingList(extents: readonly FileExtent[]): string {
  return outcome(() => createList(extents).close())
}

function buffer(fd: number): DmaBuf {
  return DmaBuf.fromDescriptor(new Descriptor(fd, 'a dma-buf'))
}

/** Number of all dma-bufs of the kernel, and of all devices that are attached to them. */
export function allBuffers(): { readonly count: number; readonly attachments: number } {
  const list = readFileSync('/sys/kernel/debug/dma_buf/bufinfo', 'latin1')
  const attachments = [...list.matchAll(/^Total (\d+) devices attached$/gm)].reduce((sum, [, n]) => sum + Number(n), 0)
  return { count: Number(/^Total (\d+) objects/m.exec(list)?.[1]), attachments }
}

/** Returns a figure of /proc/meminfo in bytes, or of /proc/vmstat, after all processors have updated their counters. */
export function systemFigure(name: string): number {
  writeFileSync('/proc/sys/vm/stat_refresh', '1')
  const meminfo = new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(readFileSync('/proc/meminfo', 'latin1'))
  if (meminfo) return Number(meminfo[1]) * 1024
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(readFileSync('/proc/vmstat', 'latin1'))?.[1])
}

/** Changes a limit of the driver while `run` runs. */
export async function withLimit(
  name: 'list_limit' | 'size_limit_mb',
  value: number,
  run: () => void | Promise<void>,
): Promise<void> {
  const file = `/sys/module/udmabuf/parameters/${name}`
  const before = readFileSync(file, 'latin1')
  writeFileSync(file, `${value}`)
  try {
    await run()
  } finally {
    writeFileSync(file, before)
  }
}
