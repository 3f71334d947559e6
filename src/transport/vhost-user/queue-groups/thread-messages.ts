/** What the main thread has a group's thread do. */
export type Order =
  /** Serve the connection with this descriptor; done when nothing of it is left, with the reason for its end. */
  | { readonly type: 'serve'; readonly fd: number }
  /** Take what is in flight to its end and end the connection. */
  | { readonly type: 'leave' }
  /** Done with an inspection. */
  | { readonly type: 'inspect' }
  /** What the device serves has changed. */
  | { readonly type: 'refresh' }
  /** Let go of everything, and end. */
  | { readonly type: 'end' }

/** An order with the number by which what comes of it is told. */
export interface NumberedOrder {
  readonly id: number
  readonly order: Order
}

export type ThreadReport =
  /** The device is there. */
  | { readonly type: 'ready' }
  /** An order is done. */
  | { readonly type: 'done'; readonly id: number; readonly value: unknown }
  /** An order failed, with this error. */
  | { readonly type: 'failed'; readonly id: number; readonly name: string; readonly message: string }
  /** Nothing comes any more, for this reason. */
  | { readonly type: 'died'; readonly message: string }
  /** For whoever reads the log. */
  | { readonly type: 'log' | 'warning'; readonly line: string }
