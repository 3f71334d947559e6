const LOAD_ADDRESS = 0x0804_8000
const HEADER_BYTES = 52
const PROGRAM_HEADER_BYTES = 32

/**
 * Machine code of `/sbin/reseed`: `exit(ioctl(0, RNDRESEEDCRNG))`. Both kernels run 32-bit code.
 * @see random(4)
 */
const CODE = Uint8Array.of(
  ...[0x31, 0xdb], //                     xor ebx, ebx        descriptor 0
  ...[0xb9, 0x07, 0x52, 0x00, 0x00], //   mov ecx, 0x5207     RNDRESEEDCRNG
  ...[0xb8, 0x36, 0x00, 0x00, 0x00], //   mov eax, 54         ioctl
  ...[0xcd, 0x80], //                     int 0x80
  ...[0x89, 0xc3], //                     mov ebx, eax        status
  ...[0xb8, 0x01, 0x00, 0x00, 0x00], //   mov eax, 1          exit
  ...[0xcd, 0x80], //                     int 0x80
)

/**
 * Returns `/sbin/reseed` of the guest, an ELF program: makes the kernel's random numbers depend on all that was written
 * to `/dev/urandom`, which is standard input. busybox has no command for that.
 */
export function reseedProgram(): Uint8Array {
  const start = HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES
  const program = new Uint8Array(start + CODE.length)
  const view = new DataView(program.buffer)
  const words = (at: number, ...values: number[]): void => {
    values.forEach((value, i) => {
      view.setUint32(at + 4 * i, value, true)
    })
  }
  // 0x7f "ELF", 32 bits, little-endian, version 1
  program.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1])
  // An executable for the 386, and its version, entry and program headers.
  words(16, 2 | (3 << 16), 1, LOAD_ADDRESS + start, HEADER_BYTES)
  view.setUint16(40, HEADER_BYTES, true)
  view.setUint16(42, PROGRAM_HEADER_BYTES, true)
  view.setUint16(44, 2, true)
  // One segment: type LOAD, offset, addresses, sizes in file and memory, readable and executable, alignment.
  words(HEADER_BYTES, 1, 0, LOAD_ADDRESS, LOAD_ADDRESS, program.length, program.length, 5, 0x1000)
  // No executable stack, of which the kernel would warn: type GNU_STACK, readable and writable.
  words(HEADER_BYTES + PROGRAM_HEADER_BYTES, 0x6474_e551, 0, 0, 0, 0, 0, 6, 0)
  program.set(CODE, start)
  return program
}
