/** A kernel or module that is not what this code was written for; the message says what is wrong with it. */
export class KernelFileError extends Error {
  override readonly name = 'KernelFileError'
}
