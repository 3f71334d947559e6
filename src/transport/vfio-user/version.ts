import { Errno } from '../../host/linux/errno.ts'
import type { ReplyOf, RequestOf } from './messages.ts'
import { MAJOR, MAX_MAPS, MAX_TRANSFER, MINOR, PAGE, TOLD_DESCRIPTORS } from './protocol.ts'
import { VfioUserError } from './vfio-user-error.ts'

/** Maximum number of descriptors in one message that a client may ask for. */
const MAX_CLIENT_DESCRIPTORS = 1024

/**
 * Agrees on a version, which is the client's or an older one, and on what both sides can do.
 * @vfio-user VERSION
 * @throws {VfioUserError} where that is not possible
 */
export function agree({ major, minor, bytes }: RequestOf<'VERSION'>): ReplyOf<'VERSION'> {
  if (major !== MAJOR) throw new VfioUserError(Errno.EINVAL, `version ${major}.${minor}`)
  const proposed = capabilitiesIn(bytes)
  const expectNumber = (name: 'max_msg_fds' | 'max_data_xfer_size', most: number) => {
    const value = proposed[name]
    if (value === undefined || (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= most)) return
    throw new VfioUserError(Errno.EINVAL, `${name} is ${JSON.stringify(value)}`)
  }
  expectNumber('max_msg_fds', MAX_CLIENT_DESCRIPTORS)
  expectNumber('max_data_xfer_size', 0xffff_ffff)
  const capabilities = {
    max_msg_fds: TOLD_DESCRIPTORS,
    max_data_xfer_size: MAX_TRANSFER,
    max_dma_maps: MAX_MAPS,
    pgsizes: PAGE,
    ...(proposed.write_multiple === true && { write_multiple: true }),
  }
  return {
    major,
    minor: Math.min(minor, MINOR),
    // With its end.
    bytes: new TextEncoder().encode(`${JSON.stringify({ capabilities })}\0`),
  }
}

/** How many bytes a client moves at once. */
export function mostTransfer({ bytes }: RequestOf<'VERSION'>): number {
  return Number(capabilitiesIn(bytes).max_data_xfer_size ?? MAX_TRANSFER)
}

/** What a client may say of itself. */
interface Capabilities {
  readonly max_msg_fds?: unknown
  readonly max_data_xfer_size?: unknown
  readonly write_multiple?: unknown
}

function capabilitiesIn(bytes: Uint8Array): Capabilities {
  if (bytes.length === 0) return {}
  if (bytes[bytes.length - 1] !== 0) throw new VfioUserError(Errno.EINVAL, 'capabilities without an end')
  const text = new TextDecoder().decode(bytes.subarray(0, bytes.length - 1))
  let said: { readonly capabilities?: unknown } | undefined
  try {
    said = objectOf(JSON.parse(text))
  } catch {
    throw new VfioUserError(Errno.EINVAL, 'capabilities that are no JSON')
  }
  const capabilities = said && objectOf(said.capabilities ?? {})
  if (!capabilities) throw new VfioUserError(Errno.EINVAL, 'capabilities that are no object')
  return capabilities
}

function objectOf(value: unknown): object | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined
}
