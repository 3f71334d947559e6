import { EntropyDevice } from '../devices/virtio/entropy/entropy.ts'
import { cryptoRandomSource } from '../services/random-source.ts'
import { DeviceId } from '../virtio/device-id.ts'
import { deviceKind } from './device-kind.ts'

export const entropyKind = deviceKind({
  name: 'entropy',
  id: DeviceId.ENTROPY,
  summary: 'random bytes of the host',
  options: {},
  open: () => undefined,
  build: () => ({ device: new EntropyDevice(cryptoRandomSource) }),
  vhostUser: { type: 'rng' },
  qemu: { driver: 'vhost-user-rng-pci' },
  guestModules: ['virtio_rng'],
})
