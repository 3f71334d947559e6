import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { ffiMissing } from '../../src/host/linux/ffi.ts'
import { systemCall } from '../../src/host/linux/system-call.ts'

const CLONE_NEWNET = 0x4000_0000

/** Runs `ip` in this thread's namespace. */
export function ip(...words: readonly string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/**
 * From here on this thread has a network of its own, without a way out, in which it may do anything.
 * @returns why not, and what to do about it; undefined where it has
 */
export function enterNamespace(): string | undefined {
  const missing = ffiMissing()
  if (missing !== undefined) return missing
  if (!existsSync('/dev/net/tun'))
    return 'there is no /dev/net/tun: load the kernel module tun, and let it into the container'
  try {
    ip('-V')
  } catch {
    return 'install iproute2'
  }
  try {
    systemCall<[flags: number]>('int unshare(int flags)')('making a network namespace', CLONE_NEWNET)
  } catch {
    return 'run as root: a network namespace was refused'
  }
  ip('link', 'set', 'lo', 'up')
  return undefined
}
