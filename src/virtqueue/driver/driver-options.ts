/** What a driver side is made for; the device side has to be made for the same. */
export interface DriverOptions {
  readonly size: number
  readonly eventIdx?: boolean
  readonly inOrder?: boolean
}
