import { fileURLToPath } from 'node:url'
import { KINDS } from '../../src/host/linux/reactor/testing/kinds.ts'

const REFUSE_IO_URING = fileURLToPath(new URL('refuse-io-uring.js', import.meta.url))

/** Kinds of reactor, with the environment variables that select them in a device process. */
export const PROCESS_KINDS = KINDS.map(({ kind, skip }) => ({
  kind,
  skip,
  environment: kind === 'epoll' ? { NODE_OPTIONS: `--import=${REFUSE_IO_URING}` } : {},
}))
