/**
 * Preloaded into a Node process (`node --import`): from then on the kernel refuses it io_uring, as containers do.
 */
import { addressOf, cFunction } from '../../src/host/linux/ffi.ts'

const PR_SET_SECCOMP = 22
const PR_SET_NO_NEW_PRIVS = 38
const SECCOMP_MODE_FILTER = 2
const IO_URING_SETUP = 425
const EPERM = 1

// struct sock_filter, 8 bytes                                                           linux/filter.h
//
//   0      2    3    4    8
//   | code | jt | jf | k  |
//
const LOAD_WORD = 0x20
const JUMP_EQUAL = 0x15
const RETURN = 0x06
const SECCOMP_RET_ERRNO = 0x0005_0000
const SECCOMP_RET_ALLOW = 0x7fff_0000

function instruction(code: number, k: number, jt = 0, jf = 0): number[] {
  return [code | (jt << 16) | (jf << 24), k]
}

const program = Uint32Array.from([
  ...instruction(LOAD_WORD, 0),
  ...instruction(JUMP_EQUAL, IO_URING_SETUP, 0, 1),
  ...instruction(RETURN, SECCOMP_RET_ERRNO | EPERM),
  ...instruction(RETURN, SECCOMP_RET_ALLOW),
])
// struct sock_fprog: the number of instructions, and at byte 8 where they are
const description = BigUint64Array.from([BigInt(program.length / 2), BigInt(addressOf(program))])

const prctl = cFunction('int prctl(int option, uint64_t a, intptr_t b, uint64_t c, uint64_t d)')
if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) !== 0) throw new Error('no_new_privs is refused')
if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, addressOf(description), 0, 0) !== 0)
  throw new Error('seccomp is refused')
