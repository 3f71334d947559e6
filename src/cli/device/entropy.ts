import { EntropyDevice } from '../../devices/virtio/entropy/entropy.ts'
import { cryptoRandomSource } from '../../services/random-source.ts'
import type { BackEnd } from './back-end.ts'

export const entropyBackEnd: BackEnd<object> = {
  name: 'entropy',
  summary: "random bytes of this machine's",
  type: 'rng',
  features: [],
  options: [],
  make: () => ({ device: new EntropyDevice(cryptoRandomSource) }),
}
