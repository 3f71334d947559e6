import type { Display, PreferredModes } from '../../../services/display.ts'
import { cryptoRandomSource, type RandomSource } from '../../../services/random-source.ts'
import type { BufferSharing } from '../../../services/shared-buffer.ts'
import { ConfigSpace } from '../../../virtio/config-space.ts'
import type { DriverSession, SharedMemoryRegion, VirtioDevice } from '../../../virtio/device.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { DEVICE_FEATURES, featureSet, hasFeature } from '../../../virtio/feature.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import { CommandProcessor } from './command-processor.ts'
import type { ContextInspection } from './contexts/context-commands.ts'
import { CrossDomainRenderer } from './contexts/cross-domain/cross-domain-renderer.ts'
import { type FencedRequest, Fences } from './contexts/fences.ts'
import type { Renderer } from './contexts/renderer.ts'
import { ControlHeader, HEADER_SIZE } from './control-header.ts'
import { NamedCounters } from './named-counters.ts'
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
  VIRTIO_GPU_SHM_ID_HOST_VISIBLE,
} from './protocol.ts'
import type { GpuHeap, HeapInspection } from './resources/heap.ts'
import { ResourceSharing } from './resources/resource-sharing.ts'
import type { PathTotals } from './resources/resource-table.ts'
import { Scanout, type ScanoutInspection, type ScanoutSize } from './scanout.ts'

export interface GpuOptions {
  /** The scanouts there are, with the sizes their viewers want at first; one of 1024 by 768 unless told. */
  readonly scanouts?: readonly ScanoutSize[]
  /** Whether the guest may show its own pages (RESOURCE_BLOB); otherwise every frame is copied to the host first. */
  readonly blob?: boolean
  /** What a guest can make this host hold besides the heap, in bytes; 256 MiB unless told. */
  readonly maxHostBytes?: number
  /** Graphics memory for the guest, which it maps; it needs `blob`. Without one there are no blobs of host memory. */
  readonly heap?: GpuHeap
  /** Gives the guest's buffers to other devices and processes of the host; without it nobody else gets them. */
  readonly sharing?: BufferSharing
  /**
   * The bit, none of the specification's, by which a driver may ask for handles of guest pages (CREATE_GUEST_HANDLE); there is
   * none unless told, nor without `sharing`.
   */
  readonly guestHandleFeature?: number
  /** What executes commands of the guest's programs, each a kind; the one that allocates from the heap, unless told. */
  readonly renderers?: readonly Renderer[]
  /** What resources are named with, for other devices; the host's generator unless told. */
  readonly random?: RandomSource
}

/** What the inspector shows of a GPU. */
export type GpuInspection = {
  readonly scanouts: readonly ScanoutInspection[]
  readonly resources: {
    readonly count: number
    readonly hostBytes: number
    readonly maxHostBytes: number
    /** How they reach displays. */
    readonly paths: PathTotals
    /** How often others could not have one, by what was wrong. */
    readonly notShared: Readonly<Record<string, number>>
  }
  readonly contexts: readonly ContextInspection[]
  /** Null where there is none. */
  readonly heap: HeapInspection | null
  /** Requests that are done but for their fences. */
  readonly fences: number
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
 * needs, and room for a response; it is answered before the next one is looked at, unless it has a fence and its context's
 * renderer needs longer. A question about the display may wait for its viewers, and all that comes behind it, too.
 *
 * @virtio 5.7
 */
export class GpuDevice implements VirtioDevice {
  readonly id = DeviceId.GPU
  readonly name = 'gpu'
  readonly queueSizes = [256, 16]
  readonly reachesMemory = true
  readonly features: bigint
  readonly featureNames: Readonly<Record<string, number>>
  readonly featureDependencies: readonly (readonly [feature: number, requires: number])[]
  readonly sharedMemory: readonly SharedMemoryRegion[]
  readonly config = new ConfigSpace(CONFIG_SIZE, () => this.#configWritten())
  readonly #scanouts: readonly Scanout[]
  readonly #maxHostBytes: number
  readonly #heap: GpuHeap | undefined
  readonly #renderers: readonly Renderer[]
  readonly #random: RandomSource
  readonly #sharing: ResourceSharing
  readonly #guestHandleFeature: number | undefined
  readonly #fences = new Fences()
  /** What happened and the driver has not cleared: bits of `GpuEvent`. */
  #events = 0
  #session: DriverSession | undefined
  /** What the driver made; it outlives stopped queues, so that a stopped guest's screen can still be read. */
  #processor: CommandProcessor | undefined
  readonly #display: Display
  /** A question of the driver's that waits for the display; what came behind it in the control queue waits, too. */
  #asked: { readonly chain: Chain } | undefined
  /** Of the request at hand in each queue. */
  readonly #headers = [new ControlHeader(), new ControlHeader()]
  readonly #commands = new NamedCounters(GpuCommand)
  readonly #errors = new NamedCounters(GpuResponse)

  constructor(display: Display, options: GpuOptions = {}) {
    const { scanouts = [{ width: 1024, height: 768 }], blob = true, maxHostBytes = 256 << 20, heap } = options
    if (scanouts.length < 1 || scanouts.length > MAX_SCANOUTS) {
      throw new RangeError(`a GPU has 1 to ${MAX_SCANOUTS} scanouts, not ${scanouts.length}`)
    }
    this.#display = display
    this.#scanouts = scanouts.map((size, index) => new Scanout(index, size, display))
    if (heap && !blob) throw new RangeError('a heap is of use only to a GPU with blobs')
    this.#maxHostBytes = maxHostBytes
    this.#heap = heap
    this.#renderers = options.renderers ?? (heap ? [new CrossDomainRenderer(heap)] : [])
    this.#random = options.random ?? cryptoRandomSource
    this.#sharing = new ResourceSharing(options.sharing, this.#scanouts)
    this.sharedMemory = heap ? [{ id: VIRTIO_GPU_SHM_ID_HOST_VISIBLE, memory: heap.window }] : []
    const handles = checkGuestHandleFeature(options.guestHandleFeature)
    this.#guestHandleFeature = blob && options.sharing ? handles : undefined
    const guestHandles = this.#guestHandleFeature === undefined ? [] : [this.#guestHandleFeature]
    const { RESOURCE_BLOB } = GpuFeature
    const { VIRGL, CONTEXT_INIT, BLOB_ALIGNMENT } = GpuFeature
    this.featureNames = Object.fromEntries([
      ...Object.entries(GpuFeature),
      ...guestHandles.map((bit) => ['CREATE_GUEST_HANDLE', bit] as const),
    ])
    this.featureDependencies = [
      [CONTEXT_INIT, VIRGL],
      [BLOB_ALIGNMENT, RESOURCE_BLOB],
      ...guestHandles.map((bit) => [bit, RESOURCE_BLOB] as const),
    ]
    this.features =
      featureSet(GpuFeature.EDID, GpuFeature.RESOURCE_UUID) |
      (blob ? featureSet(RESOURCE_BLOB, ...guestHandles) : 0n) |
      (heap ? featureSet(BLOB_ALIGNMENT) : 0n) |
      (this.#renderers.length > 0 ? featureSet(VIRGL, CONTEXT_INIT) : 0n)
    this.#fillConfig(this.config.view)
  }

  /** Guest blobs may begin and end anywhere, blobs of the heap at its pages. */
  get #blobAlignment(): number {
    return this.#heap?.pageSize ?? 1
  }

  start(session: DriverSession): void {
    this.#session = session
    this.#processor ??= new CommandProcessor(session, {
      scanouts: this.#scanouts,
      renderers: this.#renderers,
      sharing: this.#sharing,
      blobAlignment: this.#blobAlignment,
      guestHandleFeature: this.#guestHandleFeature,
      random: this.#random,
      maxHostBytes: this.#maxHostBytes,
    })
  }

  notify(index: number): void {
    const queue = this.#session?.queues[index]
    const processor = this.#processor
    if (!queue || !processor || (index === GpuQueue.CONTROL && this.#asked)) return
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      this.#headers[index].read(chain.reader)
      if (index === GpuQueue.CONTROL && this.#waits(chain)) break
      const written = this.#serve(processor, index, chain)
      if (written !== LATER) queue.push(chain, written)
    }
    queue.publish()
  }

  /**
   * A question to the display may be in flight, which is answered with what was known before, and requests whose fences are
   * not reached: the driver stops, and does not wait for them.
   */
  stopQueue(index: number): void {
    if (index !== GpuQueue.CONTROL) return
    this.#answerAsked()
    this.#answerFenced(this.#fences.takeAll())
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
        paths: resources?.inspect() ?? {},
        notShared: this.#sharing.inspect(),
      },
      contexts: this.#processor?.contexts.inspect() ?? [],
      heap: this.#heap?.inspect() ?? null,
      fences: this.#fences.count,
      commands: this.#commands.inspect(),
      errors: this.#errors.inspect(),
    }
  }

  /** Asks the display before a question about it is answered. @returns whether that takes longer than this call */
  #waits(chain: Chain): boolean {
    const { type, whole } = this.#headers[GpuQueue.CONTROL]
    const isQuestion = whole && (type === GpuCommand.GET_DISPLAY_INFO || type === GpuCommand.GET_EDID)
    if (!isQuestion || !this.#display.preferredModes) return false
    const asked = { chain }
    this.#asked = asked
    let later = false
    this.#display.preferredModes((wishes) => {
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
  #grant(wishes: PreferredModes): void {
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
    const written = this.#serve(this.#processor, GpuQueue.CONTROL, asked.chain)
    if (written !== LATER) queue.push(asked.chain, written)
    queue.publish()
  }

  #answerFenced(requests: readonly FencedRequest[]): void {
    const queue = this.#session?.queues[GpuQueue.CONTROL]
    if (!queue || requests.length === 0) return
    for (const { chain, header, response } of requests) {
      header.respond(chain.writer, response)
      queue.push(chain, chain.writer.written)
    }
    queue.publish()
  }

  /**
   * Executes one request, whose header was read, and answers it.
   *
   * Linux leaves no room for answers in the cursor queue: such a command is done all the same. Room for some of an
   * answer is of no use to anybody, and gets an error if that fits.
   * @returns the bytes written, or `LATER`
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
    if (response === GpuResponse.OK_NODATA && header.fenced && this.#waitsForFence(processor, chain, header))
      return LATER
    header.respond(writer, response)
    if (payload) writer.write(payload)
    return writer.written
  }

  /** Keeps a request that is done but for its fence. @returns whether it is one */
  #waitsForFence(processor: CommandProcessor, chain: Chain, header: ControlHeader): boolean {
    const { context, ring, type } = header
    if (type !== GpuCommand.SUBMIT_3D || ring === undefined) return false
    const request = this.#fences.add(chain, header, GpuResponse.OK_NODATA)
    if (processor.contexts.fence(context, ring, () => this.#answerFenced(this.#fences.take(request)))) return true
    this.#fences.take(request)
    return false
  }

  #execute(processor: CommandProcessor, queue: number, chain: Chain): GpuResponse {
    const { type, whole, context, ring } = this.#headers[queue]
    if (!whole) return GpuResponse.ERR_UNSPEC
    this.#commands.count(type)
    if (queue === GpuQueue.CURSOR) return processor.cursor(type, chain.reader)
    if (ring === undefined) return GpuResponse.ERR_INVALID_PARAMETER
    const response = processor.control(type, chain.reader, context)
    if (type === GpuCommand.CTX_DESTROY && response === GpuResponse.OK_NODATA) {
      this.#answerFenced(this.#fences.takeAll(context))
    }
    return response
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
    view.setUint32(CONFIG_NUM_CAPSETS, this.#renderers.length, true)
    // Valid only with BLOB_ALIGNMENT.
    view.setUint32(CONFIG_BLOB_ALIGNMENT, this.#blobAlignment, true)
  }
}

function checkGuestHandleFeature(bit: number | undefined): number | undefined {
  if (bit === undefined) return undefined
  if (!Number.isInteger(bit) || bit < 0 || !hasFeature(DEVICE_FEATURES, bit)) {
    throw new RangeError(`a device's own feature is bit 0 to 23 or 50 to 127, not ${bit}`)
  }
  const taken = Object.entries(GpuFeature).find(([, known]) => known === bit)
  if (taken) throw new RangeError(`feature bit ${bit} is ${taken[0]}`)
  return bit
}

/** What is answered when its fence is reached. */
const LATER = -1
