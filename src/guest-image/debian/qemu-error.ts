/** QEMU is missing, or lacks a required feature. The message is one line with the reason and a remedy. */
export class QemuError extends Error {
  override readonly name = 'QemuError'
}
