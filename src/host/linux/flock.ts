import { systemCall } from './system-call.ts'

/** Operations of flock(2). */
export const FlockOperation = { SH: 1, EX: 2, NB: 4 } as const

/** Locks a whole file until its descriptor is closed; the first argument is the purpose, for messages. */
export const flock = systemCall<[fd: number, operation: number]>('int flock(int fd, int operation)')
