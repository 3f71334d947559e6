import type { Descriptor } from '../../host/linux/descriptor.ts'
import { Errno } from '../../host/linux/errno.ts'
import { EventFd } from '../../host/linux/event-fd.ts'
import type { Closable, Reactor } from '../../host/linux/reactor/reactor.ts'
import { CapabilityId } from '../../pci/capability.ts'
import type { PciBus, PciFunction } from '../../pci/pci-function.ts'
import type { IrqSetMessage } from './messages.ts'
import { IRQS, IrqFlag, IrqIndex, IrqSet } from './protocol.ts'
import { VfioUserError } from './vfio-user-error.ts'

const DATA = IrqSet.DATA_NONE | IrqSet.DATA_BOOL | IrqSet.DATA_EVENTFD
const ACTION = IrqSet.ACTION_MASK | IrqSet.ACTION_UNMASK | IrqSet.ACTION_TRIGGER
/** Indices with vectors, in the order in which `sendVector` tries them. */
const MESSAGES = [IrqIndex.MSIX, IrqIndex.MSI]
const IRQ_SET_BYTES = 20
/** Maximum number of capabilities in 256 bytes of configuration space. */
const MAX_CAPABILITIES = 48

/** State of the interrupts of one `IrqIndex`. */
interface Kind {
  /** Event of each interrupt, by number. */
  readonly events: (EventFd | undefined)[]
  /** Numbers of masked interrupts, which are not signalled. */
  readonly masked: Set<number>
}

/**
 * Bus of a function behind vfio-user: interrupts signal events of the client.
 *
 * INTx is level-triggered: when the pin is asserted and not masked, the event is signalled once and INTx is masked.
 * Unmasking checks the pin again. The client has the MSI-X table and its mask bits. A vector without an event stays
 * pending until it has one.
 * @vfio-user DEVICE_SET_IRQS
 */
export class ClientInterrupts implements PciBus {
  #pci: PciFunction | undefined
  #asserted = false
  #kinds = makeKinds()
  /** Event that unmasks INTx. KVM signals it at the guest's end of interrupt. */
  #unmask: { readonly event: EventFd; readonly watch: Closable } | undefined

  constructor(private readonly reactor: Pick<Reactor, 'watch' | 'signal'>) {}

  /** Sets the function that uses this bus. */
  attach(pci: PciFunction): void {
    this.#pci = pci
  }

  setInterruptLine(asserted: boolean): void {
    this.#asserted = asserted
    this.#signalLine()
  }

  sendVector(vector: number): boolean {
    for (const index of MESSAGES) {
      const { events, masked } = this.#kinds[index]
      const event = events[vector]
      if (!event || masked.has(vector)) continue
      this.reactor.signal(event)
      return true
    }
    return false
  }

  /** Number of interrupts of an index, according to the function's configuration space. */
  count(index: number): number {
    const pci = this.#pci
    if (!pci) return 0
    // QEMU warns if there is no error interrupt. It is never signalled.
    if (index === IrqIndex.ERR) return 1
    if (index === IrqIndex.INTX) return pci.configRead(0x3d, 1) === 0 ? 0 : 1
    const control = messageControl(pci, index === IrqIndex.MSIX ? CapabilityId.MSIX : CapabilityId.MSI)
    if (control === undefined) return 0
    if (index === IrqIndex.MSIX) return (control & 0x7ff) + 1
    return index === IrqIndex.MSI ? 1 << ((control >>> 1) & 7) : 0
  }

  /** Returns the flags of an index. @vfio-user DEVICE_GET_IRQ_INFO */
  flags(index: number): number {
    if (index === IrqIndex.INTX) return IrqFlag.EVENTFD | IrqFlag.MASKABLE | IrqFlag.AUTOMASKED
    return index < IrqIndex.ERR ? IrqFlag.EVENTFD | IrqFlag.MASKABLE : IrqFlag.EVENTFD
  }

  /** Handles DEVICE_SET_IRQS. Takes ownership of the descriptors. @throws {VfioUserError} */
  set(message: IrqSetMessage, descriptors: readonly Descriptor[]): void {
    const { flags, index, start, count, bytes } = message
    this.#check(message, descriptors)
    const numbers = Array.from({ length: count }, (_, i) => start + i)
    const selected = (flags & IrqSet.DATA_BOOL) === 0 ? numbers : numbers.filter((_, i) => bytes[i] !== 0)
    switch (flags & (DATA | ACTION)) {
      case IrqSet.DATA_NONE | IrqSet.ACTION_TRIGGER:
        if (count === 0) this.#disable(index)
        else this.#trigger(index, selected)
        break
      case IrqSet.DATA_BOOL | IrqSet.ACTION_TRIGGER:
        this.#trigger(index, selected)
        break
      case IrqSet.DATA_EVENTFD | IrqSet.ACTION_TRIGGER:
        this.#assign(index, numbers, descriptors)
        break
      case IrqSet.DATA_EVENTFD | IrqSet.ACTION_UNMASK:
        this.#watchUnmask(index, descriptors)
        break
      case IrqSet.DATA_NONE | IrqSet.ACTION_MASK:
      case IrqSet.DATA_BOOL | IrqSet.ACTION_MASK:
        for (const number of selected) this.#kinds[index].masked.add(number)
        break
      case IrqSet.DATA_NONE | IrqSet.ACTION_UNMASK:
      case IrqSet.DATA_BOOL | IrqSet.ACTION_UNMASK:
        this.#unmaskAll(index, selected)
        break
      default:
        throw new VfioUserError(Errno.EINVAL, `interrupts of index ${index} cannot be masked by an eventfd`)
    }
  }

  /** Closes all events: the client disconnected. */
  disconnect(): void {
    for (let index = 0; index < IRQS; index++) this.#disable(index)
    this.#closeUnmask()
    this.#kinds = makeKinds()
  }

  #check({ argsz, flags, index, start, count, bytes }: IrqSetMessage, descriptors: readonly Descriptor[]): void {
    const refuse = (reason: string) => {
      throw new VfioUserError(Errno.EINVAL, reason)
    }
    if (argsz < IRQ_SET_BYTES) refuse(`argsz must be at least ${IRQ_SET_BYTES} (${argsz})`)
    if (!isOneOf(flags & DATA) || !isOneOf(flags & ACTION) || (flags & ~(DATA | ACTION)) !== 0) {
      refuse(`invalid flags 0x${flags.toString(16)}`)
    }
    if (index >= IRQS) refuse(`no interrupt index ${index}`)
    const available = this.count(index)
    if (start + count > available) refuse(`${count} interrupts from ${start} exceed the count of ${available}`)
    if (index >= IrqIndex.ERR && (flags & IrqSet.ACTION_TRIGGER) === 0)
      refuse(`interrupts of index ${index} are not maskable`)
    if (count === 0 && (start !== 0 || flags !== (IrqSet.DATA_NONE | IrqSet.ACTION_TRIGGER)))
      refuse('count must not be 0')
    if (bytes.length !== ((flags & IrqSet.DATA_BOOL) === 0 ? 0 : count))
      refuse(`${bytes.length} bytes of data for ${count} interrupts`)
    const expected = (flags & IrqSet.DATA_EVENTFD) === 0 ? 0 : count
    if (descriptors.length !== 0 && descriptors.length !== expected)
      refuse(`${descriptors.length} descriptors for ${expected} interrupts`)
  }

  /** Sets the events of interrupts. @param descriptors one for each number, or none to remove the events */
  #assign(index: number, numbers: readonly number[], descriptors: readonly Descriptor[]): void {
    const events = eventsOf(descriptors)
    const kind = this.#kinds[index]
    for (const [i, number] of numbers.entries()) {
      kind.events[number]?.close()
      kind.events[number] = events[i]
    }
    if (index === IrqIndex.INTX) this.#unmaskAll(index, numbers)
    else this.#pci?.retryVectors?.()
  }

  #disable(index: number): void {
    const kind = this.#kinds[index]
    for (const event of kind.events.splice(0)) event?.close()
    kind.masked.clear()
    if (index === IrqIndex.INTX) this.#closeUnmask()
  }

  /** Signals interrupts that the client requested with ACTION_TRIGGER. */
  #trigger(index: number, numbers: readonly number[]): void {
    for (const number of numbers) {
      const event = this.#kinds[index].events[number]
      if (event) this.reactor.signal(event)
    }
  }

  #unmaskAll(index: number, numbers: readonly number[]): void {
    for (const number of numbers) this.#kinds[index].masked.delete(number)
    if (index === IrqIndex.INTX) this.#signalLine()
    else this.#pci?.retryVectors?.()
  }

  #watchUnmask(index: number, descriptors: readonly Descriptor[]): void {
    if (index !== IrqIndex.INTX) throw new VfioUserError(Errno.EINVAL, 'only INTx can be unmasked by an eventfd')
    const [event] = eventsOf(descriptors)
    this.#closeUnmask()
    if (!event) return
    const watch = this.reactor.watch(event.descriptor.fd, () => {
      if (event.drain() > 0) this.#unmaskAll(index, [0])
    })
    this.#unmask = { event, watch }
  }

  #closeUnmask(): void {
    this.#unmask?.watch.close()
    this.#unmask?.event.close()
    this.#unmask = undefined
  }

  #signalLine(): void {
    const { events, masked } = this.#kinds[IrqIndex.INTX]
    const [event] = events
    if (!this.#asserted || !event || masked.has(0)) return
    masked.add(0)
    this.reactor.signal(event)
  }
}

function makeKinds(): Kind[] {
  return Array.from({ length: IRQS }, () => ({ events: [], masked: new Set() }))
}

function isOneOf(bits: number): boolean {
  return bits !== 0 && (bits & (bits - 1)) === 0
}

/** Wraps all descriptors. @throws {Error} if one is not an eventfd; the events opened before it are closed */
function eventsOf(descriptors: readonly Descriptor[]): EventFd[] {
  const events: EventFd[] = []
  try {
    for (const descriptor of descriptors) events.push(EventFd.fromDescriptor(descriptor))
  } catch (error) {
    for (const event of events) event.close()
    throw error
  }
  return events
}

/** Returns the Message Control register of the MSI or MSI-X capability; undefined if the function has none. */
function messageControl(pci: PciFunction, id: number): number | undefined {
  let at = pci.configRead(0x34, 1)
  for (let i = 0; i < MAX_CAPABILITIES && at !== 0; i++) {
    if (pci.configRead(at, 1) === id) return pci.configRead(at + 2, 2)
    at = pci.configRead(at + 1, 1)
  }
  return undefined
}
