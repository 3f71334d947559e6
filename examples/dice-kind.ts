import { DeviceId } from '../src/index.ts'
import { deviceKind, integer, parsed, withDefault } from '../src/node.ts'
import { RandomByteDevice } from './random-byte-device.ts'

/**
 * Plug-in with a kind of device: `outboard --plugin dist/examples/dice-kind.js run --device dice,show=4`. Its device is in machines,
 * in processes of its own, in the inspector, in `doctor` and in the packaging files, as the kinds of the catalogue are.
 */
export default deviceKind({
  name: 'dice',
  id: DeviceId.ENTROPY,
  summary: 'a die that always shows the same number',
  options: { show: withDefault(parsed('number', 'what the die shows', integer(1, 6)), 4) },
  open: () => undefined,
  build: (_opened, { show }) => ({ device: new RandomByteDevice(() => show) }),
  vhostUser: { type: 'dice' },
  qemu: { driver: 'vhost-user-rng-pci', alternatives: ['vhost-user-rng-device'] },
  guestModules: ['virtio_rng'],
})
