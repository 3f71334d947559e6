import { RandomByteDevice } from './random-byte-device.ts'

/** Device for `createV86Machine`: random bytes of a die that always shows 4. */
export default () => new RandomByteDevice(() => 4)
