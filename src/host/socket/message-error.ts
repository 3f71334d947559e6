/** A message that cannot be understood, or comes with what does not belong to it. */
export class MessageError extends Error {
  override readonly name: string = 'MessageError'
}
