import { EchoDevice } from '../../../virtio/testing/echo-device.ts'
import { VfioUserRig, virtioFunction } from './vfio-user-rig.ts'

/** Creates a rig with an echo device, whose log lines go to the same list as those of the server. */
export function echoRig(device = new EchoDevice()): VfioUserRig {
  const rig: VfioUserRig = new VfioUserRig(virtioFunction(device, (line) => rig.logged.push(line)))
  return rig
}
