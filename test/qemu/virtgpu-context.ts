/**
 * What a program of the guest does to have memory of a virtio GPU's, as Mesa and minigbm do: it makes a context of
 * capability set 5, and a query ring that answers come in.
 */

import { openSync, readdirSync } from 'node:fs'
import { mapFile } from '../../src/host/linux/address-space.ts'
import { memoryAt } from '../../src/host/linux/ffi.ts'
import { ioctl } from '../../src/host/linux/posix.ts'
import { pointer, words } from './ioctl.ts'

// Requests of drm/virtgpu_drm.h, with the sizes of their arguments.
const VIRTGPU_MAP = 0xc010_6441
const VIRTGPU_EXECBUFFER = 0xc028_6442
const VIRTGPU_WAIT = 0xc008_6448
const VIRTGPU_GET_CAPS = 0xc018_6449
const VIRTGPU_RESOURCE_CREATE_BLOB = 0xc030_644a
const VIRTGPU_CONTEXT_INIT = 0xc010_644b

export const BlobMem = { GUEST: 1, HOST3D: 2 } as const
export const BlobFlag = { MAPPABLE: 1, SHAREABLE: 2 } as const

const CROSS_DOMAIN = 5
const INIT = 1
const GET_IMAGE_REQUIREMENTS = 2
const PAGE = 4096

const card = readdirSync('/dev/dri').find((name) => name.startsWith('card'))
export const fd = openSync(`/dev/dri/${card}`, 'r+')

export interface Blob {
  /** Handle in the program. */
  readonly handle: number
  /** Id in the device. */
  readonly resource: number
}

/** Memory layout of a picture. */
export interface Requirements {
  readonly strides: readonly number[]
  readonly offsets: readonly number[]
  readonly modifier: readonly number[]
  readonly size: number
  readonly blobId: number
}

export function createBlob(mem: number, flags: number, size: number, blobId: number): Blob {
  const argument = words(mem, flags, 0, 0, size, 0, 0, 0, 0, 0, blobId, 0)
  ioctl('creating a blob', fd, VIRTGPU_RESOURCE_CREATE_BLOB, argument)
  return { handle: argument[2], resource: argument[3] }
}

export function map({ handle }: Blob, size: number): ArrayBuffer {
  const argument = words(0, 0, handle, 0)
  ioctl('asking where a blob is', fd, VIRTGPU_MAP, argument)
  const { address } = mapFile('mapping a blob', fd, argument[0] + argument[1] * 2 ** 32, size)
  return memoryAt(address, size)
}

/** Sends a command. For one with a buffer, waits for its fence. */
function execute(type: number, body: readonly number[], buffer?: Blob): void {
  const command = words(type | ((8 + 4 * body.length) << 16), 0, ...body)
  const handles = words(buffer?.handle ?? 0)
  const argument = words(
    ...[buffer ? 4 : 0, command.byteLength],
    ...pointer(command),
    ...pointer(handles),
    ...[buffer ? 1 : 0, 0xffff_ffff, 0, 0],
  )
  ioctl('sending a command', fd, VIRTGPU_EXECBUFFER, argument)
  if (buffer) ioctl('waiting', fd, VIRTGPU_WAIT, words(buffer.handle, 0))
}

/** Capabilities of the kind of context. */
export const capset = new Uint32Array(4)
ioctl('asking for capabilities', fd, VIRTGPU_GET_CAPS, words(CROSS_DOMAIN, 0, ...pointer(capset), 16, 0))

// Parameters: the type of the context, and one ring.
const parameters = words(1, 0, CROSS_DOMAIN, 0, 2, 0, 1, 0)
ioctl('making a context', fd, VIRTGPU_CONTEXT_INIT, words(2, 0, ...pointer(parameters)))

const ring = createBlob(BlobMem.GUEST, BlobFlag.MAPPABLE, PAGE, 0)
const answers = new Uint32Array(map(ring, PAGE))
execute(INIT, [ring.resource, 0, 0])

/** Sends a command, and waits for its completion. @returns the first words of the ring, which were 0 before */
export function ask(type: number, body: readonly number[]): readonly number[] {
  answers.fill(0, 0, 16)
  execute(type, body, ring)
  return [...answers.subarray(0, 16)]
}

export function imageRequirements(width: number, height: number, fourcc: number): Requirements {
  const answer = ask(GET_IMAGE_REQUIREMENTS, [width, height, fourcc, 0])
  return {
    strides: answer.slice(0, 4),
    offsets: answer.slice(4, 8),
    modifier: answer.slice(8, 10),
    size: answer[10],
    blobId: answer[12],
  }
}
