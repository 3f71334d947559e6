import { systemCall } from './system-call.ts'

/** How to lock; flock(2). */
export const FlockOperation = { SH: 1, EX: 2, NB: 4 } as const

/** Takes a lock on a whole file, held until its descriptor is closed. Purpose, descriptor and operation. */
export const flock = systemCall<[fd: number, operation: number]>('int flock(int fd, int operation)')
