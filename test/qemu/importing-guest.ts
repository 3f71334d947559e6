import { fileURLToPath } from 'node:url'
import type { Rect } from '../../src/services/rect.ts'
import type { Made } from './importing-program.ts'
import { mountMachineFiles } from './machine-files.ts'
import type { PortGuest } from './port-guest.ts'
import { drawSeeded } from './seeded-picture.ts'

const PROGRAM = fileURLToPath(new URL('./importing-program.js', import.meta.url))

/** Picture in a larger buffer. */
export interface PictureInBuffer {
  readonly width: number
  readonly height: number
  readonly offset: number
  readonly columns: number
  readonly rows: number
}

/** Guest whose program draws with one graphics card and shows with another, and the expected drawings so far. */
export class ImportingGuest {
  readonly #expected = new Map<
    number,
    { readonly bytes: ArrayBuffer; readonly offset: number; readonly stride: number }
  >()

  private constructor(private readonly port: PortGuest) {}

  /** Boots it. The first virtio GPU has its screen, the second one a heap. */
  static async start(port: PortGuest): Promise<ImportingGuest> {
    await mountMachineFiles(port, ['vgem', 'virtio_gpu'])
    const found = await port.run('cd /sys/bus/pci/devices; grep -l 0x1050 */device')
    const cards = found.split('\n').map((file) => `/${file.replace('/device', '/')}`)
    await port.run(
      `mkfifo /tmp/orders /tmp/answers
       chroot /mnt ${process.execPath} ${PROGRAM} ${cards.join(' ')} <>/tmp/orders 1<>/tmp/answers 2>/tmp/complaint &
       echo $! >/tmp/program`,
    )
    return new ImportingGuest(port)
  }

  /** Sends a command to the program. @returns its answer @throws its error */
  async order(order: string, ...numbers: readonly number[]): Promise<unknown> {
    const said = await this.port.run(
      `echo ${[order, ...numbers].join(' ')} >/tmp/orders; timeout 120 head -n 1 /tmp/answers || cat /tmp/complaint`,
    )
    const answer: { error?: string } | null = JSON.parse(said)
    if (answer?.error !== undefined) throw new Error(`${order}: ${answer.error}`)
    return answer
  }

  async make(name: number, { width, height, offset, columns, rows }: PictureInBuffer): Promise<void> {
    const { stride, size } = (await this.order('make', name, width, height, offset, columns, rows)) as Made
    this.#expected.set(name, { bytes: new ArrayBuffer(size), offset, stride })
  }

  async draw(name: number, seed: number, { x, y, width, height }: Rect): Promise<void> {
    await this.order('draw', name, seed, x, y, width, height)
    const place = this.#of(name)
    drawSeeded(place.bytes, place, seed, { x, y, width, height })
  }

  /** Returns the expected bytes of the whole buffer. */
  expected(name: number): Uint8Array {
    return new Uint8Array(this.#of(name).bytes)
  }

  stride(name: number): number {
    return this.#of(name).stride
  }

  /** Kills the program without cleaning up. */
  async end(): Promise<void> {
    await this.port.run('kill $(cat /tmp/program); while kill -0 $(cat /tmp/program) 2>/dev/null; do sleep 0.1; done')
  }

  #of(name: number) {
    const picture = this.#expected.get(name)
    if (!picture) throw new Error(`the guest has made no picture ${name}`)
    return picture
  }
}
