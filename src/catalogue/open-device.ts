import type { DeviceHost, DeviceKind, Served } from './device-kind.ts'
import type { OptionTable, OptionValues } from './options.ts'

/** Device, and the end of all that was opened for it. */
export interface OpenDevice {
  readonly served: Served
  close(): Promise<void>
}

/**
 * Opens what a device needs, then builds it. If that fails, all that was opened is closed.
 * @throws {UsageError}
 */
export async function openDevice<Table extends OptionTable, Opened>(
  kind: DeviceKind<Table, Opened>,
  options: OptionValues<Table>,
  host: DeviceHost,
): Promise<OpenDevice> {
  const opened = await kind.open(options, host)
  try {
    const served = await kind.build(opened, options, host)
    return {
      served,
      async close() {
        try {
          await served.close?.()
        } finally {
          await kind.close?.(opened)
        }
      },
    }
  } catch (error) {
    await kind.close?.(opened)
    throw error
  }
}
