import type { Display, PreferredModes } from '../../../services/display.ts'
import { cryptoRandomSource, type RandomSource } from '../../../services/random-source.ts'
import type { BufferSharing } from '../../../services/shared-buffer.ts'
import type { SavedState } from '../../../snapshot/saved-state.ts'
import { integer, list, stateShape, tuple } from '../../../snapshot/shape.ts'
import { SnapshotError } from '../../../snapshot/snapshot-error.ts'
import { ConfigSpace } from '../../../virtio/config-space.ts'
import type { DriverSession, VirtioDevice } from '../../../virtio/device.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { DEVICE_FEATURES, featureSet, hasFeature } from '../../../virtio/feature.ts'
import type { SharedMemoryRegion } from '../../../virtio/shared-memory.ts'
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
import { MAX_RESOURCES, type PathTotals } from './resources/resource-table.ts'
import { checkResource, RESOURCE, saveResource } from './resources/saved-resource.ts'
import { SCANOUT, Scanout, type ScanoutInspection, type ScanoutSize } from './scanout.ts'

/** Returns the shape of the saved state of a GPU with so many scanouts. */
function stateOf(scanouts: number) {
  return stateShape('gpu', 1, {
    events: integer(0, GpuEvent.DISPLAY),
    resources: list(RESOURCE, 0, MAX_RESOURCES),
    scanouts: tuple(new Array<typeof SCANOUT>(scanouts).fill(SCANOUT)),
  })
}
type SavedGpu = ReturnType<ReturnType<typeof stateOf>['read']>

export interface GpuOptions {
  /** The scanouts, each with the preferred mode of its viewer. @default one of 1024 by 768 */
  readonly scanouts?: readonly ScanoutSize[]
  /** Offers RESOURCE_BLOB: scanouts read the guest's own pages, and not a copy on the host. @default true */
  readonly blob?: boolean
  /**
   * Limit in bytes of host memory that the driver's resources and contexts use, not counting the heap.
   * @default 256 MiB
   */
  readonly maxHostBytes?: number
  /** Graphics memory that the guest maps; needs `blob`. Without it the device has no host blobs. */
  readonly heap?: GpuHeap
  /** Exports the guest's buffers to other devices and processes of the host. Without it no buffer is exported. */
  readonly sharing?: BufferSharing
  /**
   * Number of the feature bit by which a driver may create guest blobs with CREATE_GUEST_HANDLE. The specification does
   * not define it. Needs `sharing`.
   * @default no such feature
   */
  readonly guestHandleFeature?: number
  /** Renderers of the contexts, one for each capability set. @default `CrossDomainRenderer` if there is a heap */
  readonly renderers?: readonly Renderer[]
  /** Source of the UUIDs of resources. @default the host's CSPRNG */
  readonly random?: RandomSource
}

/** State of a GPU, as the inspector shows it. */
export type GpuInspection = {
  readonly scanouts: readonly ScanoutInspection[]
  readonly resources: {
    readonly count: number
    readonly hostBytes: number
    readonly maxHostBytes: number
    /** Resources by how displays read them. */
    readonly paths: PathTotals
    /** Failed exports, by problem. */
    readonly notShared: Readonly<Record<string, number>>
  }
  readonly contexts: readonly ContextInspection[]
  /** Null without a heap. */
  readonly heap: HeapInspection | null
  /** Requests that are executed and wait for their fence. */
  readonly fences: number
  readonly commands: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
}

/**
 * GPU device: shows the surfaces of the guest on displays of the host.
 *
 *     const gpu = new GpuDevice(display, { scanouts: [{ width: 1280, height: 720 }] })
 *     ...                                     // a transport connects a driver, which sends:
 *     // RESOURCE_CREATE_BLOB                    the pages of its framebuffer
 *     // SET_SCANOUT_BLOB                        display.scanout(0, surface)
 *     // RESOURCE_FLUSH                          display.damage(0, rect)
 *     surface.read(rect, pixels, 0, stride)   // when the viewer is ready: reads the guest's pages
 *     gpu.resize(0, 1920, 1080)               // the viewer prefers another mode: notifies the guest
 *
 * Queue 0 (controlq) carries all commands except those of the cursor, queue 1 (cursorq) those of the cursor. Each
 * request is a header, the parameters of the command, and room for the response. The device returns a request before it
 * takes the next one, unless the request is fenced and the renderer of its context completes it later. GET_DISPLAY_INFO
 * and GET_EDID may wait for the viewers; all later requests of the control queue then wait, too.
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
  /** Pending events, bits of `GpuEvent`: the driver has not cleared them yet. */
  #events = 0
  #session: DriverSession | undefined
  /** State to apply when guest memory is there. */
  #restored: SavedGpu | undefined
  /**
   * The driver's resources and contexts. They stay when queues stop, so the surfaces of a stopped guest can still be
   * read.
   */
  #processor: CommandProcessor | undefined
  readonly #display: Display
  /** The request that waits for the viewers' preferred modes. Later requests of the control queue wait for it. */
  #waiting: { readonly chain: Chain } | undefined
  /** Headers of the current request of each queue. */
  readonly #headers = [new ControlHeader(), new ControlHeader()]
  readonly #commands = new NamedCounters(GpuCommand)
  readonly #errors = new NamedCounters(GpuResponse)

  constructor(display: Display, options: GpuOptions = {}) {
    const { scanouts = [{ width: 1024, height: 768 }], blob = true, maxHostBytes = 256 << 20, heap } = options
    if (scanouts.length < 1 || scanouts.length > MAX_SCANOUTS) {
      throw new RangeError(`a GPU must have 1 to ${MAX_SCANOUTS} scanouts (${scanouts.length})`)
    }
    this.#display = display
    this.#scanouts = scanouts.map((size, index) => new Scanout(index, size, display))
    if (heap && !blob) throw new RangeError('a GPU with a heap needs blobs: set the option blob')
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

  /** Alignment of blobs in bytes: the page size of the heap; 1 without a heap, since guest blobs need no alignment. */
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
    const restored = this.#restored
    this.#restored = undefined
    if (restored) this.#apply(restored, session, this.#processor)
  }

  notify(index: number): void {
    const queue = this.#session?.queues[index]
    const processor = this.#processor
    if (!queue || !processor || (index === GpuQueue.CONTROL && this.#waiting)) return
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      this.#headers[index].read(chain.reader)
      if (index === GpuQueue.CONTROL && this.#waitsForModes(chain)) break
      const written = this.#serve(processor, index, chain)
      if (written !== LATER) queue.push(chain, written)
    }
    queue.publish()
  }

  /**
   * Returns requests that wait for the viewers, with the preferred modes known so far, and requests that wait for a
   * fence. The driver stops, so it does not wait for either.
   */
  stopQueue(index: number): void {
    if (index !== GpuQueue.CONTROL) return
    this.#answerWaiting()
    this.#answerFenced(this.#fences.takeAll())
  }

  reset(): void {
    this.#restored = undefined
    this.#processor?.release()
    this.#processor = undefined
    this.#session = undefined
    this.#events = 0
    this.#fillConfig(this.config.view)
  }

  /** Does nothing: displays can read surfaces while the device is suspended. */
  suspend(): void {}

  resume(): void {}

  /** Does not save contexts, whose state is the renderer's, nor host blobs. */
  save(): SavedState {
    const shape = stateOf(this.#scanouts.length)
    if (this.#restored) return shape.write({ ...this.#restored, events: this.#events })
    const contexts = this.#processor?.contexts.inspect().length ?? 0
    if (contexts > 0) {
      throw new SnapshotError(
        `${this.name} has ${contexts} contexts, whose state only their renderer knows: close them`,
      )
    }
    return shape.write({
      events: this.#events,
      resources: Array.from(this.#processor?.resources.all ?? [], saveResource),
      scanouts: this.#scanouts.map((scanout) => scanout.save()),
    })
  }

  restore(state: SavedState): void {
    const saved = stateOf(this.#scanouts.length).read(state)
    const ids = new Set<number>()
    for (const resource of saved.resources) {
      checkResource(resource, this.#guestHandleFeature !== undefined)
      if (ids.has(resource.id)) throw new SnapshotError(`resource ${resource.id} exists twice`)
      ids.add(resource.id)
    }
    const lost = saved.scanouts.find(({ surface }) => surface && !ids.has(surface.resource))
    if (lost) throw new SnapshotError(`a scanout shows resource ${lost.surface?.resource}, which does not exist`)
    this.#restored = saved
    this.#events = saved.events
    this.#fillConfig(this.config.view)
  }

  #apply({ resources, scanouts }: SavedGpu, session: DriverSession, processor: CommandProcessor): void {
    try {
      processor.restore(resources, scanouts)
    } catch (error) {
      processor.release()
      this.#processor = undefined
      session.needsReset(`the saved state does not fit: ${error instanceof Error ? error.message : String(error)}`)
      return
    }
    if (!this.#scanouts.some((scanout, i) => scanout.prefersOther(scanouts[i]))) return
    this.#events |= GpuEvent.DISPLAY
    this.config.update((view) => this.#fillConfig(view))
  }

  /**
   * Sets the preferred mode of a scanout. The guest is notified by an event and may ignore it.
   * @throws {RangeError} if there is no such scanout
   * @virtio 5.7.4.2 VIRTIO_GPU_EVENT_DISPLAY
   */
  resize(scanout: number, width: number, height: number): void {
    const target = this.#scanouts[scanout]
    if (!target) throw new RangeError(`there is no scanout ${scanout}: the GPU has ${this.#scanouts.length}`)
    if (!target.setPreferred({ width, height })) return
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

  /**
   * Requests the viewers' preferred modes if the chain asks for display information.
   * @returns true if they arrive later
   */
  #waitsForModes(chain: Chain): boolean {
    const { type, whole } = this.#headers[GpuQueue.CONTROL]
    const asksForModes = whole && (type === GpuCommand.GET_DISPLAY_INFO || type === GpuCommand.GET_EDID)
    if (!asksForModes || !this.#display.preferredModes) return false
    const waiting = { chain }
    this.#waiting = waiting
    let later = false
    this.#display.preferredModes((modes) => {
      this.#setPreferredModes(modes)
      // The request may have been answered already, by `stopQueue`.
      if (this.#waiting !== waiting) return
      if (later) this.#resumeControl()
      else this.#waiting = undefined
    })
    later = true
    return this.#waiting === waiting
  }

  /** Raises no event, because the driver is asking for this information. */
  #setPreferredModes(modes: PreferredModes): void {
    for (const [i, mode] of modes.slice(0, this.#scanouts.length).entries()) this.#scanouts[i].setPreferred(mode)
  }

  #resumeControl(): void {
    this.#answerWaiting()
    this.notify(GpuQueue.CONTROL)
  }

  #answerWaiting(): void {
    const waiting = this.#waiting
    const queue = this.#session?.queues[GpuQueue.CONTROL]
    this.#waiting = undefined
    if (!waiting || !queue || !this.#processor) return
    const written = this.#serve(this.#processor, GpuQueue.CONTROL, waiting.chain)
    if (written !== LATER) queue.push(waiting.chain, written)
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
   * Executes one request and writes its response; its header was already read.
   *
   * Linux provides no room for responses in the cursor queue: such a command is executed all the same. If a response
   * fits in part only, the driver gets an error instead, if that fits.
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

  /** Keeps a request that is executed and fenced until its fence is reached. @returns true if the request waits */
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

  /**
   * Handles a write to the configuration space. The driver may write events_clear only, which always reads as 0.
   * @virtio 5.7.4.1
   */
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
    throw new RangeError(`a feature of the device must be bit 0 to 23 or 50 to 127 (${bit})`)
  }
  const taken = Object.entries(GpuFeature).find(([, known]) => known === bit)
  if (taken) throw new RangeError(`feature bit ${bit} is ${taken[0]}: use another bit`)
  return bit
}

/** Result of a request that is returned later, when its fence is reached. */
const LATER = -1
