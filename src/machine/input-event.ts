import { between, integer, isBoolean, type MessageOf, optional, string } from '../wire/json-message.ts'

/** Maximum number of scanouts of a GPU. The first scanout of the second GPU of a machine has this number. */
export const SCANOUTS_PER_GPU = 16
/** Number of scanouts that a machine can have. */
const MAX_SCANOUTS = 8 * SCANOUTS_PER_GPU

export const isScanout = integer(0, MAX_SCANOUTS - 1)

/** Id of the device in the machine that receives the event. @default the first device that handles such events */
const device = optional(string(64))

/** Input events of a viewer, with the checks of their fields. */
export const INPUT_EVENTS = {
  /** Key by its Linux event code, KEY_ESC to KEY_MAX. */
  key: { device, code: integer(1, 0x2ff), pressed: isBoolean },
  /** Button of the pointer by its Linux event code, BTN_LEFT to BTN_TASK. */
  button: { device, code: integer(0x110, 0x117), pressed: isBoolean },
  /** Position in fractions of the scanout. @default scanout 0 */
  pointer: { device, scanout: optional(isScanout), x: between(0, 1), y: between(0, 1) },
  /**
   * Turn of the wheel in steps; positive: away from the user, to the right. Fractions add up (high resolution).
   */
  wheel: { device, vertical: between(-100, 100), horizontal: between(-100, 100) },
  /** Requests another size of a scanout from the guest: sets the preferred mode in the EDID. */
  resize: { scanout: isScanout, width: integer(64, 8192), height: integer(64, 8192) },
  'resize-terminal': { columns: integer(1, 1000), rows: integer(1, 1000) },
} as const

/** Input event of a viewer. @see INPUT_EVENTS */
export type InputEvent = MessageOf<typeof INPUT_EVENTS>
