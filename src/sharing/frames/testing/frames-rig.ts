import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { GuestBuffers } from '../../../backends/buffers/guest-buffers.ts'
import { GpuRig } from '../../../devices/virtio/gpu/testing/gpu-rig.ts'
import { Mapping } from '../../../host/linux/mapping.ts'
import { MemoryFile } from '../../../host/linux/memory-file.ts'
import { createReactor } from '../../../host/linux/reactor/create-reactor.ts'
import type { Rect } from '../../../services/rect.ts'
import { FrameServer, type FrameServerOptions } from '../frame-server.ts'

const MEMORY_BYTES = 16 << 20
const BYTES_PER_PIXEL = 4
/** Path of no device, so that buffers are linear even if this host has udmabuf. */
const NO_DRIVER = '/dev/there-is-no-udmabuf'

/** Picture of the guest in a blob of its own. */
export interface Picture {
  readonly id: number
  readonly width: number
  readonly height: number
  readonly address: number
}

/**
 * GPU with guest memory in a file and an export socket, on a running reactor.
 *
 *     const rig = new FramesRig({ memoryFiles: true })
 *     const picture = rig.picture(1, 64, 48)
 *     rig.show(picture)
 *     const client = await FrameClient.connect(rig.path)
 *     ...
 *     await rig.close()
 */
export class FramesRig {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'outboard-frames-'))
  readonly path = path.join(this.folder, 'frames.sock')
  readonly reactor = createReactor()
  readonly buffers = GuestBuffers.open({ device: NO_DRIVER })
  /** Log lines of the server. */
  readonly log: string[] = []
  readonly server: FrameServer
  readonly gpu: GpuRig
  readonly #mapping: Mapping
  readonly #running: Promise<void>

  constructor(options: FrameServerOptions = {}) {
    const file = MemoryFile.create('guest memory', MEMORY_BYTES)
    this.#mapping = Mapping.of(file.descriptor, { offset: 0, length: MEMORY_BYTES })
    const log = (line: string): void => void this.log.push(line)
    this.server = FrameServer.listen(this.path, this.buffers, this.reactor, { log, ...options })
    const [memory] = this.#mapping.regions(0)
    this.gpu = new GpuRig({ sharing: this.buffers, scanouts: [SCREEN, SCREEN] }, { memory }, [this.server])
    // Tests wait for promises.
    this.reactor.keepMicrotasksRunning()
    this.#running = this.reactor.run()
  }

  /** Creates a blob with enough pages for a picture. */
  picture(id: number, width: number, height: number): Picture {
    const bytes = Math.ceil((width * height * BYTES_PER_PIXEL) / PAGE) * PAGE
    const { address } = this.gpu.page(bytes)
    this.gpu.createBlob(id, bytes, [{ address, length: bytes }])
    return { id, width, height, address }
  }

  /** Shows a picture on a scanout. */
  show({ id, width, height }: Picture, scanout = 0): void {
    this.gpu.setScanoutBlob(scanout, id, { width, height })
  }

  /** Fills a rectangle with a byte, and flushes it. @param rect default: the whole picture */
  draw(picture: Picture, value: number, rect?: Rect): void {
    const { width, height, address, id } = picture
    const { x, y, ...size } = rect ?? { x: 0, y: 0, width, height }
    const { u8 } = this.gpu.driver.memory.regions[0]
    for (let row = y; row < y + size.height; row++) {
      const from = address + (row * width + x) * BYTES_PER_PIXEL
      u8.fill(value, from, from + size.width * BYTES_PER_PIXEL)
    }
    this.gpu.flush(id, { x, y, ...size })
  }

  async close(): Promise<void> {
    this.server.close()
    this.reactor.stop()
    await this.#running
    await this.gpu.driver.reset()
    this.buffers.close()
    this.#mapping.close()
    this.reactor.close()
    rmSync(this.folder, { recursive: true })
  }
}

const PAGE = 4096
const SCREEN = { width: 640, height: 480 }
