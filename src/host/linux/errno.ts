/** What system calls fail with, as far as anything here tells one from another. Linux's numbers. */
export const Errno = {
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EBUSY: 16,
  EINVAL: 22,
  EPIPE: 32,
  ECONNRESET: 104,
  ECANCELED: 125,
} as const
