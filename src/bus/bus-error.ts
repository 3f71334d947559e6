/** A range cannot be on an address bus. */
export class BusError extends Error {
  override name = 'BusError'
}
