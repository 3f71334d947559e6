import { EntropyDevice } from '../devices/entropy/entropy.ts'
import { cryptoRandomSource } from '../devices/entropy/random-source.ts'
import type { BackEnd } from './device-back-end.ts'

export const entropyBackEnd: BackEnd<object> = {
  name: 'entropy',
  summary: "random bytes of this machine's",
  type: 'rng',
  features: [],
  options: [],
  make: () => ({ device: new EntropyDevice(cryptoRandomSource) }),
}
