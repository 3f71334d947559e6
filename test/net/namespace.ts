import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { ffiMissing } from '../../src/host/linux/ffi.ts'
import { systemCall } from '../../src/host/linux/system-call.ts'

const CLONE_NEWNET = 0x4000_0000

/** Runs `ip` in this thread's namespace. */
export function ip(...words: readonly string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Reason why interfaces cannot be created, with a remedy; undefined if they can. */
export function namespaceRefused(): string | undefined {
  const missing = ffiMissing()
  if (missing !== undefined) return missing
  if (!existsSync('/dev/net/tun'))
    return 'there is no /dev/net/tun: load the kernel module tun, and let it into the container'
  if (spawnSync('ip', ['-V']).error) return 'install iproute2'
  const { status } = spawnSync('unshare', ['--net', 'ip', 'tuntap', 'add', 'dev', 'test', 'mode', 'tap'])
  return status === 0 ? undefined : 'run as root: a network namespace, or an interface in it, was refused'
}

/** Moves this thread to a separate network namespace, in which it has all rights. */
export function enterNamespace(): void {
  systemCall<[flags: number]>('int unshare(int flags)')('making a network namespace', CLONE_NEWNET)
  ip('link', 'set', 'lo', 'up')
}
