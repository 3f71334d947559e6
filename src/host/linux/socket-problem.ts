import type { SystemCallError } from './system-call-error.ts'

/** Describes why a Unix socket cannot be used, and what to do. @param where its path, or which descriptor it is */
export function socketProblem(error: SystemCallError, where: string): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `${where} is in use: another process listens there, or it is not a socket`
    case 'EACCES':
      return `${where} cannot be created: check the permissions of its folder`
    case 'ENOENT':
      return `the folder of ${where} does not exist`
    case 'EBADF':
    case 'ENOTSOCK':
      return `${where} is not a socket`
    default:
      return error.message
  }
}
