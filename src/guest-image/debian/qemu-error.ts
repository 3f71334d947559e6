/** QEMU is not here, or does not do what is needed; one line that says why and what to do. */
export class QemuError extends Error {
  override readonly name = 'QemuError'
}
