import { ConfigSpace } from '../../virtio/config-space.ts'
import type { DriverSession, VirtioDevice } from '../../virtio/device.ts'
import { DeviceId } from '../../virtio/device-id.ts'
import { featureSet } from '../../virtio/feature.ts'
import type { Chain } from '../../virtqueue/chain.ts'
import { CommandProcessor } from './command-processor.ts'
import { ControlHeader, HEADER_SIZE } from './control-header.ts'
import type { Display, Wishes } from './display.ts'
import {
  CONFIG_BLOB_ALIGNMENT,
  CONFIG_EVENTS_CLEAR,
  CONFIG_EVENTS_READ,
  CONFIG_NUM_CAPSETS,
  CONFIG_NUM_SCANOUTS,
  CONFIG_SIZE,
  GpuCommand,
  GpuEvent,
  GpuFeature,
  GpuQueue,
  GpuResponse,
  MAX_SCANOUTS,
} from './protocol.ts'
import { Scanout, type ScanoutInspection, type ScanoutSize } from './scanout.ts'
import { Tally } from './tally.ts'

export interface GpuOptions {
  /** The scanouts there are, with the sizes their viewers want at first; one of 1024 by 768 unless told. */
  readonly scanouts?: readonly ScanoutSize[]
  /** Whether the guest may show its own pages (RESOURCE_BLOB); otherwise every frame is copied to the host first. */
  readonly blob?: boolean
  /** What a guest can make this host hold, in bytes; 256 MiB unless told. */
  readonly maxHostBytes?: number
}

/** What the inspector shows of a GPU. */
export type GpuInspection = {
  readonly scanouts: readonly ScanoutInspection[]
  readonly resources: { readonly count: number; readonly hostBytes: number; readonly maxHostBytes: number }
  readonly commands: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
}

/**
 * GPU: what the guest draws, on displays of the host.
 *
 *     const gpu = new GpuDevice(display, { scanouts: [{ width: 1280, height: 720 }] })
 *     ...                                     // a transport brings a driver, which then, in this order:
 *     // RESOURCE_CREATE_BLOB                    names its framebuffer's pages
 *     // SET_SCANOUT_BLOB                        display.scanout(0, surface)
 *     // RESOURCE_FLUSH                          display.damage(0, rect)
 *     surface.read(rect, pixels, 0, stride)   // whenever the viewer is ready: the pixels, out of the guest's pages
 *     gpu.resize(0, 1920, 1080)               // the viewer's window grew: the guest may follow
 *
 * Queue 0 (controlq) carries all commands but the cursor's, queue 1 (cursorq) those. Each is a header, what the command
 * needs, and room for a response; it is answered before the next one is looked at, so a fence is reached when its
 * command returns. A question about the display may wait for its viewers, and all that comes behind it, too.
 *
 * @virtio 5.7
 */
export class GpuDevice implements VirtioDevice {
  readonly id = DeviceId.GPU
  readonly name = 'gpu'
  readonly queueSizes = [256, 16]
  readonly features: bigint
  readonly featureNames = GpuFeature
  readonly config = new ConfigSpace(CONFIG_SIZE, () => this.#configWritten())
  readonly #scanouts: readonly Scanout[]
  readonly #maxHostBytes: number
  /** What happened and the driver has not cleared: bits of `GpuEvent`. */
  #events = 0
  #session: DriverSession | undefined
  /** What the driver made; it outlives `quiesce`, so that a stopped guest's screen can still be read. */
  #processor: CommandProcessor | undefined
  readonly #display: Display
  /** A question of the driver's that waits for the display; what came behind it in the control queue waits, too. */
  #asked: { readonly chain: Chain } | undefined
  /** Of the request at hand in each queue. */
  readonly #headers = [new ControlHeader(), new ControlHeader()]
  readonly #commands = new Tally(GpuCommand)
  readonly #errors = new Tally(GpuResponse)

  constructor(display: Display, options: GpuOptions = {}) {
    const { scanouts = [{ width: 1024, height: 768 }], blob = true, maxHostBytes = 256 << 20 } = options
    if (scanouts.length < 1 || scanouts.length > MAX_SCANOUTS) {
      throw new RangeError(`a GPU has 1 to ${MAX_SCANOUTS} scanouts, not ${scanouts.length}`)
    }
    this.#display = display
    this.#scanouts = scanouts.map((size, index) => new Scanout(index, size, display))
    this.#maxHostBytes = maxHostBytes
    this.features =
      featureSet(GpuFeature.VIRTIO_GPU_F_EDID) | (blob ? featureSet(GpuFeature.VIRTIO_GPU_F_RESOURCE_BLOB) : 0n)
    this.#fillConfig(this.config.view)
  }

  activate(session: DriverSession): void {
    this.#session = session
    this.#processor ??= new CommandProcessor(session, this.#scanouts, this.#maxHostBytes)
  }

  notify(index: number): void {
    const queue = this.#session?.queues[index]
    const processor = this.#processor
    if (!queue || !processor || (index === GpuQueue.CONTROL && this.#asked)) return
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      this.#headers[index].read(chain.reader)
      if (index === GpuQueue.CONTROL && this.#waits(chain)) break
      queue.push(chain, this.#serve(processor, index, chain))
    }
    queue.publish()
  }

  /** Nothing is ever in flight but a question to the display, which then is answered with what was known before. */
  quiesce(): void {
    this.#answerAsked()
    this.#session = undefined
  }

  resetQueue(index: number): void {
    if (index === GpuQueue.CONTROL) this.#answerAsked()
  }

  reset(): void {
    this.#processor?.release()
    this.#processor = undefined
    this.#session = undefined
    this.#events = 0
    this.#fillConfig(this.config.view)
  }

  /**
   * The viewer wants a scanout of another size. The guest learns of it by an event, and does as it likes.
   * @virtio 5.7.4.2 VIRTIO_GPU_EVENT_DISPLAY
   */
  resize(scanout: number, width: number, height: number): void {
    const target = this.#scanouts[scanout]
    if (!target) throw new RangeError(`there is no scanout ${scanout}: the GPU has ${this.#scanouts.length}`)
    if (!target.wish({ width, height })) return
    this.#events |= GpuEvent.DISPLAY
    this.config.update((view) => this.#fillConfig(view))
  }

  inspect(): GpuInspection {
    const resources = this.#processor?.resources
    return {
      scanouts: this.#scanouts.map((scanout) => scanout.inspect()),
      resources: {
        count: resources?.count ?? 0,
        hostBytes: resources?.hostBytes ?? 0,
        maxHostBytes: this.#maxHostBytes,
      },
      commands: this.#commands.inspect(),
      errors: this.#errors.inspect(),
    }
  }

  /** Asks the display before a question about it is answered. @returns whether that takes longer than this call */
  #waits(chain: Chain): boolean {
    const { type, whole } = this.#headers[GpuQueue.CONTROL]
    const isQuestion = whole && (type === GpuCommand.GET_DISPLAY_INFO || type === GpuCommand.GET_EDID)
    if (!isQuestion || !this.#display.ask) return false
    const asked = { chain }
    this.#asked = asked
    let later = false
    this.#display.ask((wishes) => {
      this.#grant(wishes)
      // Nobody may be waiting for it any more.
      if (this.#asked !== asked) return
      if (later) this.#goOn()
      else this.#asked = undefined
    })
    later = true
    return this.#asked === asked
  }

  /** No event tells the driver: it is the one who asked. */
  #grant(wishes: Wishes): void {
    for (const [i, wish] of wishes.slice(0, this.#scanouts.length).entries()) this.#scanouts[i].wish(wish)
  }

  #goOn(): void {
    this.#answerAsked()
    this.notify(GpuQueue.CONTROL)
  }

  #answerAsked(): void {
    const asked = this.#asked
    const queue = this.#session?.queues[GpuQueue.CONTROL]
    this.#asked = undefined
    if (!asked || !queue || !this.#processor) return
    queue.push(asked.chain, this.#serve(this.#processor, GpuQueue.CONTROL, asked.chain))
    queue.publish()
  }

  /**
   * Executes one request, whose header was read, and answers it.
   *
   * Linux leaves no room for answers in the cursor queue: such a command is done all the same. Room for some of an
   * answer is of no use to anybody, and gets an error if that fits.
   * @returns the bytes written
   */
  #serve(processor: CommandProcessor, queue: number, chain: Chain): number {
    const { writer } = chain
    const header = this.#headers[queue]
    let response = this.#execute(processor, queue, chain)
    let payload = processor.takePayload()
    if (payload && writer.remaining < HEADER_SIZE + payload.length) {
      response = GpuResponse.ERR_UNSPEC
      payload = undefined
    }
    if (response >= GpuResponse.ERR_UNSPEC) this.#errors.count(response)
    if (writer.remaining < HEADER_SIZE) return 0
    header.respond(writer, response)
    if (payload) writer.write(payload)
    return writer.written
  }

  #execute(processor: CommandProcessor, queue: number, chain: Chain): GpuResponse {
    const { type, whole } = this.#headers[queue]
    if (!whole) return GpuResponse.ERR_UNSPEC
    this.#commands.count(type)
    return queue === GpuQueue.CURSOR ? processor.cursor(type, chain.reader) : processor.control(type, chain.reader)
  }

  /** The driver wrote somewhere: only events_clear is its to write, and always reads as 0. @virtio 5.7.4.1 */
  #configWritten(): void {
    this.#events &= ~this.config.view.getUint32(CONFIG_EVENTS_CLEAR, true)
    this.#fillConfig(this.config.view)
  }

  #fillConfig(view: DataView): void {
    view.setUint32(CONFIG_EVENTS_READ, this.#events, true)
    view.setUint32(CONFIG_EVENTS_CLEAR, 0, true)
    view.setUint32(CONFIG_NUM_SCANOUTS, this.#scanouts.length, true)
    view.setUint32(CONFIG_NUM_CAPSETS, 0, true)
    // Guest blobs may begin and end anywhere. Valid only with VIRTIO_GPU_F_BLOB_ALIGNMENT, which is not offered.
    view.setUint32(CONFIG_BLOB_ALIGNMENT, 1, true)
  }
}
