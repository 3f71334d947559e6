import type { DeviceInspection, QueueInspection } from '../machine/machine.ts'
import { bufferLines } from './buffer-lines.ts'
import { make, setText } from './dom.ts'
import { formatBytes, formatCount, formatName, formatValue } from './format-value.ts'
import { frameCosts } from './frame-costs.ts'

const QUEUE_COLUMNS: readonly { name: string; title: string; text: (queue: QueueInspection) => string }[] = [
  { name: 'queue', title: 'Index of the queue', text: ({ index }) => String(index) },
  { name: 'size', title: 'Entries', text: ({ size }) => formatCount(size) },
  { name: 'avail', title: 'Available index, written by the driver', text: ({ available }) => formatCount(available) },
  { name: 'used', title: 'Used index, written by the device', text: ({ used }) => formatCount(used) },
  {
    name: 'in flight',
    title: 'Requests that the device has not completed',
    text: ({ inFlight }) => formatCount(inFlight),
  },
  { name: 'popped', title: 'Requests taken by the device', text: ({ popped }) => formatCount(popped) },
  { name: 'pushed', title: 'Requests returned to the driver', text: ({ pushed }) => formatCount(pushed) },
  { name: 'intr', title: 'Interrupts sent', text: ({ interrupts }) => formatCount(interrupts) },
  { name: 'saved', title: 'Interrupts suppressed by the driver', text: ({ suppressed }) => formatCount(suppressed) },
  { name: 'bad', title: 'Malformed requests', text: ({ malformed }) => formatCount(malformed) },
]

/**
 * Section of one device in the inspector. Updates change only what differs, so that focus, selection and scrolling
 * stay.
 */
export class DeviceSection {
  readonly element: HTMLDetailsElement
  readonly #health = make('span', 'health')
  readonly #status = make('p', 'status-bits')
  readonly #costs = make('div', 'costs')
  readonly #buffers = make('ul', 'buffers')
  readonly #features = make('ul', 'features')
  readonly #featureCount = make('span', 'count')
  readonly #queues = make('tbody')
  readonly #faults = make('ul', 'faults')
  readonly #state = make('dl', 'state')

  constructor(device: DeviceInspection) {
    const name = make('span', 'device-name', device.name)
    const summary = make('summary', '', name, make('span', 'device-id', `device type ${device.id}`), this.#health)
    const features = make(
      'details',
      'feature-list',
      make('summary', '', 'Features ', this.#featureCount),
      this.#features,
    )
    this.element = make('details', 'device', summary, this.#status, this.#costs, this.#buffers)
    this.element.append(this.#queueTable(device.name), this.#faults, this.#state, features)
    this.element.open = true
  }

  update(device: DeviceInspection): void {
    const { label, kind } = healthOf(device.status)
    setText(this.#health, label)
    this.#health.dataset['kind'] = kind
    setText(this.#status, device.status.join(' · ') || 'no driver')
    this.#updateFeatures(device)
    this.#updateQueues(device.queues)
    if (device.panel === 'gpu') this.#updateCosts(device.state)
    updateState(this.#state, device.state)
  }

  #queueTable(deviceName: string): HTMLElement {
    const head = make('tr')
    for (const { name, title } of QUEUE_COLUMNS) {
      const cell = make('th', '', name)
      cell.scope = 'col'
      cell.title = title
      head.append(cell)
    }
    const wrapper = make('div', 'table', make('table', '', make('thead', '', head), this.#queues))
    wrapper.tabIndex = 0
    wrapper.setAttribute('role', 'region')
    wrapper.setAttribute('aria-label', `Queues of ${deviceName}`)
    return wrapper
  }

  #updateFeatures({ offered, negotiated }: DeviceInspection): void {
    setText(this.#featureCount, `${negotiated.length} of ${offered.length} negotiated`)
    const names = [...new Set([...offered, ...negotiated])]
    const items = names.map((name) => {
      const isAgreed = negotiated.includes(name)
      return { text: `${isAgreed ? '✓' : '–'} ${name}`, kind: isAgreed ? 'negotiated' : 'offered' }
    })
    updateItems(this.#features, items)
  }

  #updateQueues(queues: readonly QueueInspection[]): void {
    while (this.#queues.rows.length > queues.length) this.#queues.lastElementChild?.remove()
    for (const [index, queue] of queues.entries()) {
      const row =
        this.#queues.rows[index] ?? this.#queues.appendChild(make('tr', '', ...QUEUE_COLUMNS.map(() => make('td'))))
      row.classList.toggle('unused', !queue.enabled)
      QUEUE_COLUMNS.forEach(({ text }, column) => {
        setText(row.cells[column], text(queue))
      })
      row.title = queue.enabled ? `${queue.packed ? 'packed' : 'split'} ring` : 'not enabled by the driver'
    }
    const faults = queues.flatMap(({ index, broken, lastFault }) => [
      ...(broken ? [{ text: `Queue ${index} is broken: ${broken}`, kind: 'broken' }] : []),
      ...(lastFault ? [{ text: `Queue ${index}, last fault: ${lastFault}`, kind: 'fault' }] : []),
    ])
    updateItems(this.#faults, faults)
  }

  #updateCosts(state: Record<string, unknown>): void {
    const lines = frameCosts(state).map(({ path, reason, inPlace, bytesPerFlush }, index) => {
      const cost = bytesPerFlush === undefined ? 'no frame yet' : `${formatBytes(bytesPerFlush)} a frame`
      const way = inPlace ? `${path}, read in place` : path
      return { text: `Screen ${index + 1}: ${way}, ${cost}${reason ? ` (${reason})` : ''}`, kind: 'cost' }
    })
    updateItems(this.#costs, lines, 'p')
    const buffers = bufferLines(state).map((text) => ({ text, kind: 'buffer' }))
    updateItems(this.#buffers, buffers)
  }
}

function healthOf(status: readonly string[]): { label: string; kind: string } {
  const has = (part: string): boolean => status.some((name) => name.endsWith(part))
  if (has('NEEDS_RESET')) return { label: 'needs reset', kind: 'bad' }
  if (has('FAILED')) return { label: 'failed', kind: 'bad' }
  return has('DRIVER_OK') ? { label: 'running', kind: 'good' } : { label: 'no driver', kind: 'idle' }
}

function updateItems(
  list: HTMLElement,
  items: readonly { text: string; kind: string }[],
  tag: 'li' | 'p' = 'li',
): void {
  while (list.childElementCount > items.length) list.lastElementChild?.remove()
  for (const [index, { text, kind }] of items.entries()) {
    const item = list.children[index] ?? list.appendChild(make(tag))
    setText(item, text)
    item.className = kind
  }
}

/** Updates names and values of a device's own state, as nested lists. */
function updateState(list: HTMLElement, state: object): void {
  const entries = Object.entries(state)
  while (list.childElementCount > entries.length) list.lastElementChild?.remove()
  for (const [index, [key, value]] of entries.entries()) {
    const row = list.children[index] ?? list.appendChild(make('div', '', make('dt'), make('dd')))
    const [name, place] = row.children
    setText(name, /^\d+$/.test(key) ? `#${key}` : formatName(key))
    const text = formatValue(key, value)
    if (text !== undefined) {
      setText(place, text)
      continue
    }
    const nested = place.querySelector('dl')
    if (nested) updateState(nested, value as object)
    else {
      const inner = make('dl', 'state')
      updateState(inner, value as object)
      place.replaceChildren(inner)
    }
  }
}
