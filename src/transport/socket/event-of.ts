import { readlinkSync } from 'node:fs'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { EventFd } from '../../host/linux/event-fd.ts'
import { MessageError } from '../../host/socket/message-error.ts'

/**
 * The event behind a descriptor that came from the peer. It owns the descriptor.
 * @throws where it is not an event's, which then is closed: writing to anything else could end or stall this process
 */
export function eventOf(descriptor: Descriptor): EventFd {
  let kind: string
  try {
    kind = readlinkSync(`/proc/self/fd/${descriptor.fd}`)
  } catch (error) {
    descriptor.close()
    throw error
  }
  if (kind === 'anon_inode:[eventfd]') return EventFd.fromDescriptor(descriptor)
  descriptor.close()
  throw new MessageError(`${kind} where an eventfd belongs`)
}
