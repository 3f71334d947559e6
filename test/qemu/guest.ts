import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import { VFIO_USER } from '../../src/engines/qemu/front-ends.ts'
import { findQemu } from '../../src/engines/qemu/qemu.ts'
import { findGuestImage } from '../../src/guest-image/guest-image.ts'
import { ffiMissing } from '../../src/host/linux/ffi.ts'

const found = await findQemu('vhost-user')

/** Reason why no guest can run in QEMU; undefined if one can. */
export const qemuMissing =
  ffiMissing() ??
  (found && findGuestImage(AMD64_IMAGE)
    ? undefined
    : 'there is no QEMU with all vhost-user devices, or no guest image for it; apt fetches both: apt-get install apt')

/** Reason why this QEMU does not support vfio-user functions; undefined if it does. */
export const vfioUserMissing =
  found === undefined || found.devices.has(VFIO_USER)
    ? undefined
    : `QEMU ${found.version} has no ${VFIO_USER}: from 10.1 on it may have it`

/** Returns QEMU, which must not be missing. */
export function qemu(): NonNullable<typeof found> {
  if (!found) throw new Error('no QEMU')
  return found
}
