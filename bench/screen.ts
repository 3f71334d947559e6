import { type ConsoleServer, serveConsole } from '../src/console/server.ts'
import { PageClient } from '../src/console/testing/page-client.ts'
import type { GpuInspection } from '../src/devices/virtio/gpu/gpu.ts'
import { DeviceId } from '../src/virtio/device-id.ts'
import { bootGuest, type Guest } from '../test/guest/guest.ts'
import type { Bench, Variant } from './bench.ts'
import type { Figures } from './figures.ts'

/** Lines the guest prints in a round: once the screen is full, each moves all of it. */
const LINES = 600
const SCROLL = `seq 1 ${LINES} > /dev/tty1`

/** A guest, the page's server, and a tab that takes frames as fast as they come. */
class Screen {
  private constructor(
    private readonly guest: Guest,
    private readonly server: ConsoleServer,
    private readonly tab: PageClient,
  ) {}

  static async show(blob: boolean): Promise<Screen> {
    const guest = await bootGuest({ blob })
    const server = await serveConsole(guest.machine, { port: 0 })
    return new Screen(guest, server, await PageClient.connect(server.url, true))
  }

  async scroll(): Promise<Figures> {
    const before = await this.#copied()
    this.tab.frames.length = 0
    const start = performance.now()
    const { status } = await this.guest.run(SCROLL)
    if (status !== 0) throw new Error(`the guest's command ended with ${status}`)
    await this.tab.settle()
    const seconds = (performance.now() - start) / 1000
    const after = await this.#copied()
    const frames = this.tab.screens.length
    const wire = this.tab.screens.reduce(
      (sum, { rects }) => sum + rects.reduce((bytes, { words }) => bytes + words.byteLength, 0),
      0,
    )
    return {
      frames: frames / seconds,
      lines: LINES / seconds,
      transferred: (after.transferred - before.transferred) / frames,
      read: (after.read - before.read) / frames,
      wire: wire / frames,
    }
  }

  async close(): Promise<void> {
    this.tab.socket.close()
    await this.server.close()
    await this.guest.stop()
  }

  async #copied(): Promise<{ transferred: number; read: number }> {
    const { devices } = await this.guest.machine.inspect()
    const state = devices.find(({ id }) => id === DeviceId.GPU)?.state as unknown as GpuInspection
    const [{ bytesTransferred, bytesRead }] = state.scanouts
    return { transferred: bytesTransferred, read: bytesRead }
  }
}

function variant(name: string, blob: boolean): Variant {
  let screen: Screen | undefined
  return {
    name,
    async measure() {
      screen ??= await Screen.show(blob)
      return screen.scroll()
    },
    async close() {
      await screen?.close()
    },
  }
}

export const screenBench: Bench = {
  name: 'screen',
  summary: 'a full-screen scroll of a real guest, through the page’s server, on both paths of the GPU',
  columns: {
    frames: 'frames a second that a tab gets',
    lines: 'lines a second that the guest prints',
    transferred: 'bytes a frame copied out of the guest by its TRANSFER_TO_HOST_2D, into the host’s shadow',
    read: 'bytes a frame copied out of the surface for the tab: out of guest pages in place, or out of the shadow',
    wire: 'bytes of pixels a frame on the WebSocket',
  },
  prepare: () => [variant('guest blob, in place', true), variant('2D resource, copy', false)],
}
