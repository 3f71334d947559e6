/**
 * A program of the guest that does what a compositor does whose GPU is passed through, and whose screen is not that
 * GPU's: it draws into a buffer of the one card, and has the other one import and show it. It takes orders, one a line,
 * and answers each with a line of JSON. Its arguments are where the system has the other card, and one more that has a
 * heap.
 */
import { closeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Card } from './card.ts'
import { KernelScreen } from './kernel-screen.ts'
import { drawSeeded } from './seeded-picture.ts'

/** Buffer of the first card that the second card imported. */
interface ImportedBuffer {
  readonly bytes: ArrayBuffer
  readonly stride: number
  readonly offset: number
  readonly width: number
  readonly height: number
  readonly handle: number
  readonly dmaBuf: number
  readonly framebuffer: number
}

/** Answer about a buffer that it made. */
export interface Made {
  readonly stride: number
  readonly size: number
}

const [, , screenPath, heapPath] = process.argv
/** Card in place of a GPU that is passed through. */
const gpu = new Card('/vgem/')
const card = new Card(screenPath)
const screen = new KernelScreen(card.fd)
const heapCard = new Card(heapPath)
const buffers = new Map<number, ImportedBuffer>()

function bufferOf(name: number): ImportedBuffer {
  const buffer = buffers.get(name)
  if (!buffer) throw new Error(`there is no buffer ${name}`)
  return buffer
}

const orders: Readonly<Record<string, (...numbers: number[]) => unknown>> = {
  /** Makes a picture of a size, at an offset in a buffer of a number of pixels. */
  make(name, width, height, offset, columns, rows): Made {
    const buffer = gpu.create(columns, rows)
    const { stride, size } = buffer
    const dmaBuf = gpu.export(buffer)
    const handle = card.import(dmaBuf)
    const framebuffer = screen.add({ handle, width, height, stride, offset })
    const bytes = gpu.map(buffer)
    buffers.set(name, { bytes, stride, offset, width, height, handle, dmaBuf, framebuffer })
    return { stride, size }
  },
  draw(name, seed, x, y, width, height) {
    const buffer = bufferOf(name)
    drawSeeded(buffer.bytes, buffer, seed, { x, y, width, height })
  },
  show(name) {
    const { framebuffer, width, height } = bufferOf(name)
    screen.show(framebuffer, width, height)
  },
  flip(name) {
    screen.flip(bufferOf(name).framebuffer)
  },
  flush(name, x, y, width, height) {
    screen.flush(bufferOf(name).framebuffer, { x, y, width, height })
  },
  /** Imports it to a third card, which has a heap. */
  offer(name) {
    heapCard.forget(heapCard.import(bufferOf(name).dmaBuf))
  },
  /** Closes it on the second card, which may still show it, and keeps it on the first one. */
  forget(name) {
    const { framebuffer, handle, dmaBuf } = bufferOf(name)
    screen.remove(framebuffer)
    card.forget(handle)
    closeSync(dmaBuf)
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const [order, ...numbers] = line.split(' ')
  let answer: unknown
  try {
    answer = orders[order](...numbers.map(Number)) ?? null
  } catch (error) {
    answer = { error: String(error) }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
