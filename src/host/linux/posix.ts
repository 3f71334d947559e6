/**
 * System calls by their own names. The first argument of each is the purpose, for the message of the `SystemCallError` that it throws.
 * They repeat a call that a signal interrupted. Calls of hot paths are declared where they are used, without these checks.
 */
import { systemCall } from './system-call.ts'

// Descriptors

/** fcntl(2). @see FcntlCommand */
export const fcntl = systemCall<[fd: number, command: number, value: number]>(
  'int fcntl(int fd, int command, int64_t value)',
)
export const dup = systemCall<[fd: number]>('int dup(int fd)')

/**
 * poll(2). Each descriptor takes 8 bytes: the descriptor, 16 bits of requested events, 16 bits of returned events.
 * @returns number of descriptors with events
 */
export const poll = systemCall<[descriptors: ArrayBufferView, count: number, timeout: number]>(
  'int poll(void *descriptors, uint64_t count, int timeout)',
)

/** ioctl(2) whose argument is a structure. */
export const ioctl = systemCall<[fd: number, request: number, argument: ArrayBufferView]>(
  'int ioctl(int fd, unsigned long request, void *argument)',
)
/** ioctl(2) whose argument is a number. */
export const ioctlNumber = systemCall<[fd: number, request: number, argument: number]>(
  'int ioctl(int fd, unsigned long request, unsigned long argument)',
)

export const eventfd = systemCall<[initial: number, flags: number]>('int eventfd(uint32_t initial, int flags)')
export const epollCreate = systemCall<[flags: number]>('int epoll_create1(int flags)')
export const epollCtl = systemCall<[epoll: number, operation: number, fd: number, event: Uint32Array]>(
  'int epoll_ctl(int epoll, int operation, int fd, void *event)',
)

// Files

/** memfd_create(2). @param name ends with a NUL */
export const memfdCreate = systemCall<[name: Uint8Array, flags: number]>(
  'int memfd_create(const void *name, uint32_t flags)',
)
export const lseek = systemCall<[fd: number, offset: number, whence: number]>(
  'int64_t lseek(int fd, int64_t offset, int whence)',
)
/** Allocates, deallocates or zeroes a range of a file or block device, in bytes. @see FallocateMode */
export const fallocate = systemCall<[fd: number, mode: number, offset: number, length: number]>(
  'int fallocate(int fd, int mode, int64_t offset, int64_t length)',
)
/** Locks a whole file until its descriptor is closed. @see FlockOperation */
export const flock = systemCall<[fd: number, operation: number]>('int flock(int fd, int operation)')
export const statx = systemCall<[folder: number, path: Uint8Array, flags: number, mask: number, result: Uint32Array]>(
  'int statx(int folder, const void *path, int flags, uint32_t mask, void *result)',
)

// Sockets

export const socket = systemCall<[domain: number, type: number, protocol: number]>(
  'int socket(int domain, int type, int protocol)',
)
export const socketpair = systemCall<[domain: number, type: number, protocol: number, fds: Int32Array]>(
  'int socketpair(int domain, int type, int protocol, void *fds)',
)
export const connect = systemCall<[fd: number, address: Uint8Array, length: number]>(
  'int connect(int fd, const void *address, uint32_t length)',
)
export const bind = systemCall<[fd: number, address: Uint8Array, length: number]>(
  'int bind(int fd, const void *address, uint32_t length)',
)
export const listen = systemCall<[fd: number, backlog: number]>('int listen(int fd, int backlog)')
export const accept4 = systemCall<[fd: number, address: number, length: number, flags: number]>(
  'int accept4(int fd, intptr_t address, intptr_t length, int flags)',
)
export const getsockopt = systemCall<
  [fd: number, level: number, option: number, value: ArrayBufferView, length: Uint32Array]
>('int getsockopt(int fd, int level, int option, void *value, void *length)')

/** Commands of fcntl(2). */
export const FcntlCommand = { GETFL: 3, SETFL: 4, DUPFD_CLOEXEC: 1030, ADD_SEALS: 1033, GET_SEALS: 1034 } as const

/** Events of poll(2). */
export const PollEvent = { IN: 1, OUT: 4 } as const

/** Operations of flock(2). */
export const FlockOperation = { SH: 1, EX: 2, NB: 4 } as const

/** Flags of fallocate(2). */
export const FallocateMode = { KEEP_SIZE: 0x01, PUNCH_HOLE: 0x02, ZERO_RANGE: 0x10 } as const
