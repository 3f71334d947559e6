import type { DeviceInspection } from '../../machine/machine.ts'
import type { MachineCommand, Report } from '../../machine/messages.ts'
import { MappedScreens } from './mapped-screens.ts'

/**
 * Between a machine and its GPU's process: pixels are read here, where they lie, once there are any; the process is asked for
 * those that cannot be had so.
 */
export class GpuScreens {
  readonly #path: string
  readonly #send: (command: MachineCommand) => void
  readonly #report: (report: Report) => void
  #screens: MappedScreens | undefined
  #connecting = false
  #closed = false

  /**
   * @param path of the process's export socket
   * @param send tells the process
   * @param report tells the machine
   */
  constructor(path: string, send: (command: MachineCommand) => void, report: (report: Report) => void) {
    this.#path = path
    this.#send = send
    this.#report = report
  }

  /** A command of the machine's. */
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

  /** What the process says. @returns what the machine gets to hear */
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
      if (!this.#closed) log(`pixels come by messages of the GPU's process: ${reasonOf(error)}`)
    }
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
