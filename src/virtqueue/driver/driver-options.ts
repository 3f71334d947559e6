/** Size and negotiated features of a driver's queue. The device's queue must be created with the same values. */
export interface DriverOptions {
  readonly size: number
  readonly eventIdx?: boolean
  readonly inOrder?: boolean
}
