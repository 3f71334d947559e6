import { Errno } from '../../host/linux/errno.ts'
import type { ReplyOf, RequestOf } from './messages.ts'
import { ADVERTISED_DESCRIPTORS, MAJOR, MAX_MAPS, MAX_TRANSFER, MINOR, PAGE } from './protocol.ts'
import { VfioUserError } from './vfio-user-error.ts'

/** Maximum valid value of max_msg_fds of a client. */
const MAX_CLIENT_DESCRIPTORS = 1024

/**
 * Negotiates version and capabilities. The minor version is the lower of both sides.
 * @vfio-user VERSION
 * @throws {VfioUserError} if the major version differs or the capabilities are invalid
 */
export function agree({ major, minor, bytes }: RequestOf<'VERSION'>): ReplyOf<'VERSION'> {
  if (major !== MAJOR) throw new VfioUserError(Errno.EINVAL, `unsupported version ${major}.${minor}`)
  const proposed = capabilitiesIn(bytes)
  const expectNumber = (name: 'max_msg_fds' | 'max_data_xfer_size', max: number) => {
    const value = proposed[name]
    if (value === undefined || (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= max)) return
    throw new VfioUserError(Errno.EINVAL, `${name} must be a number of 0 to ${max} (${JSON.stringify(value)})`)
  }
  expectNumber('max_msg_fds', MAX_CLIENT_DESCRIPTORS)
  expectNumber('max_data_xfer_size', 0xffff_ffff)
  const capabilities = {
    max_msg_fds: ADVERTISED_DESCRIPTORS,
    max_data_xfer_size: MAX_TRANSFER,
    max_dma_maps: MAX_MAPS,
    pgsizes: PAGE,
    ...(proposed.write_multiple === true && { write_multiple: true }),
  }
  return {
    major,
    minor: Math.min(minor, MINOR),
    bytes: new TextEncoder().encode(`${JSON.stringify({ capabilities })}\0`),
  }
}

/** Maximum data bytes of one message that the client accepts. */
export function maxTransfer({ bytes }: RequestOf<'VERSION'>): number {
  return Number(capabilitiesIn(bytes).max_data_xfer_size ?? MAX_TRANSFER)
}

/** Capabilities of a client, not yet checked. */
interface Capabilities {
  readonly max_msg_fds?: unknown
  readonly max_data_xfer_size?: unknown
  readonly write_multiple?: unknown
}

function capabilitiesIn(bytes: Uint8Array): Capabilities {
  if (bytes.length === 0) return {}
  if (bytes[bytes.length - 1] !== 0) throw new VfioUserError(Errno.EINVAL, 'the capabilities do not end with NUL')
  const text = new TextDecoder().decode(bytes.subarray(0, bytes.length - 1))
  let parsed: { readonly capabilities?: unknown } | undefined
  try {
    parsed = objectOf(JSON.parse(text))
  } catch {
    throw new VfioUserError(Errno.EINVAL, 'the capabilities are not JSON')
  }
  const capabilities = parsed && objectOf(parsed.capabilities ?? {})
  if (!capabilities) throw new VfioUserError(Errno.EINVAL, 'the capabilities are not an object')
  return capabilities
}

function objectOf(value: unknown): object | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined
}
