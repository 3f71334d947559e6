import { EchoDevice } from '../../../virtio/testing/echo-device.ts'
import { VfioUserRig, virtioFunction } from './vfio-user-rig.ts'

/** An echo device behind a server, whose lines go where the server's do. */
export function echoRig(device = new EchoDevice()): VfioUserRig {
  const rig: VfioUserRig = new VfioUserRig(virtioFunction(device, (line) => rig.logged.push(line)))
  return rig
}
