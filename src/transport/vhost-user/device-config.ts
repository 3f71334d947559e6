import type { VirtioDevice } from '../../virtio/device.ts'
import type { DeviceGuard } from '../../virtio/device-guard.ts'
import { ConfigFlag, MAX_CONFIG } from './protocol.ts'
import { VhostUserError } from './vhost-user-error.ts'

/** Access of messages to a device's configuration space. @vhost-user Virtio device config space */
export class DeviceConfig {
  constructor(
    private readonly device: VirtioDevice,
    private readonly guard: DeviceGuard,
  ) {}

  /** Reads bytes. Front-ends read the size that they know for the device type: bytes past the end are 0. */
  read(offset: number, size: number): Uint8Array {
    checkRange(offset, size)
    return Uint8Array.from({ length: size }, (_, i) => this.device.config.read(offset + i, 1))
  }

  /**
   * Writes bytes that differ, because some front-ends write all to change one. Writes of a migration are ignored: they
   * hold the source's configuration, and this device has its own.
   */
  write(offset: number, bytes: Uint8Array, flags: number): void {
    checkRange(offset, bytes.length)
    if (flags === ConfigFlag.MIGRATION) return
    if (flags !== ConfigFlag.WRITABLE) throw new VhostUserError(`invalid flags ${flags}`)
    const { config } = this.device
    if (!config.writable) throw new VhostUserError('the configuration space is read-only')
    this.guard.call('config', () => {
      for (const [i, byte] of bytes.entries()) {
        if (config.read(offset + i, 1) !== byte) config.write(offset + i, 1, byte)
      }
    })
  }
}

function checkRange(offset: number, size: number): void {
  if (offset + size > MAX_CONFIG)
    throw new VhostUserError(`${size} bytes from ${offset} exceed the ${MAX_CONFIG} bytes of configuration space`)
}
