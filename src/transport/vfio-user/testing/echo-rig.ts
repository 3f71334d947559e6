import { EchoDevice } from '../../../virtio/testing/echo-device.ts'
import { VfioUserRig, virtioFunction } from './vfio-user-rig.ts'

/** Creates a rig with an echo device, whose log lines go to the same list as those of the server. */
export function echoRig(device = new EchoDevice()): VfioUserRig {
  // A function may log while it is created.
  const early: string[] = []
  let rig: VfioUserRig | undefined
  rig = new VfioUserRig(virtioFunction(device, (line) => (rig?.logged ?? early).push(line)))
  rig.logged.push(...early)
  return rig
}
