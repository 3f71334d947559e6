/** Orders of the main thread to the thread of a group. */
export type Order =
  /** Serve the connection with this descriptor. Done when it ended, with the reason. */
  | { readonly type: 'serve'; readonly fd: number }
  /** Drain and close the connection. */
  | { readonly type: 'leave' }
  /** Done with an inspection of the device. */
  | { readonly type: 'inspect' }
  /** The device's backend may have changed. */
  | { readonly type: 'refresh' }
  /** Release everything and end. */
  | { readonly type: 'end' }

/** Order with the number that its result carries. */
export interface NumberedOrder {
  readonly id: number
  readonly order: Order
}

/** Reports of the thread of a group to the main thread. */
export type ThreadReport =
  /** The device is built. */
  | { readonly type: 'ready' }
  /** An order completed. */
  | { readonly type: 'done'; readonly id: number; readonly value: unknown }
  /** An order failed, with this error. */
  | { readonly type: 'failed'; readonly id: number; readonly name: string; readonly message: string }
  /** The thread ended, for this reason. */
  | { readonly type: 'died'; readonly message: string }
  /** Line for the log. */
  | { readonly type: 'log' | 'warning'; readonly line: string }
