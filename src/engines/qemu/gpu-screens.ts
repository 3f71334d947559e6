import type { DeviceInspection } from '../../machine/machine.ts'
import type { MachineCommand, Report } from '../../machine/messages.ts'
import { MappedScreens } from './mapped-screens.ts'

/**
 * Pixels of a GPU process for the machine: reads them in place if possible, and otherwise requests them from the
 * process.
 */
export class GpuScreens {
  readonly #path: string
  readonly #send: (command: MachineCommand) => void
  readonly #report: (report: Report) => void
  #screens: MappedScreens | undefined
  #connecting = false
  #closed = false

  /**
   * @param path path of the process's export socket
   * @param send sends a command to the process
   * @param report sends a report to the machine
   */
  constructor(path: string, send: (command: MachineCommand) => void, report: (report: Report) => void) {
    this.#path = path
    this.#send = send
    this.#report = report
  }

  /** Handles a command of the machine. */
  send(command: MachineCommand): void {
    if (command.type === 'read-pixels') {
      const pixels = this.#screens?.read(command.scanout, command.rect)
      if (pixels) {
        this.#report({ type: 'pixels', id: command.id, pixels })
        return
      }
    } else if (command.type === 'damage-taken' && this.#screens?.taken(command.scanout)) return
    this.#send(command)
  }

  /** Handles a report of the process. @returns the report for the machine */
  receive(report: Report): Report {
    if (report.type === 'mode' && report.mode && !this.#connecting) void this.#connect()
    if (report.type !== 'inspection' || !this.#screens) return report
    const page = this.#screens.inspect()
    const devices = report.inspection.devices.map(
      (device): DeviceInspection => ({ ...device, state: { ...device.state, page } }),
    )
    return { ...report, inspection: { devices } }
  }

  close(): void {
    this.#closed = true
    this.#screens?.close()
  }

  async #connect(): Promise<void> {
    this.#connecting = true
    const log = (line: string): void => this.#report({ type: 'log', line })
    try {
      const screens = await MappedScreens.connect(this.#path, {
        damage: (scanout, rects) => this.#report({ type: 'damage', scanout, rects }),
        inPlace: (scanout, inPlace) => this.#send({ type: 'read-in-place', scanout, inPlace }),
        log,
      })
      this.#screens = screens
      if (this.#closed) screens.close()
    } catch (error) {
      if (!this.#closed) log(`reading pixels by messages: ${reasonOf(error)}`)
    }
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
