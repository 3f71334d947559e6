/** A kernel or module has an unsupported format. The message has the reason. */
export class KernelFileError extends Error {
  override readonly name = 'KernelFileError'
}
