import type { MemoryRelease } from '../../services/memory-release.ts'

/** Host that keeps the guest's memory: an engine whose memory is one buffer of this process. */
export const noRelease: MemoryRelease = {
  release: () => 0,
  inspect: () => ({ method: 'none: the memory of the guest is a buffer that cannot shrink' }),
}
