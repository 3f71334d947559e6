import { BLOCK_SIZE, checksum, displayIdBlock, type PhysicalSize, type Product } from './display-id.ts'
import { reducedBlankingTiming, type Timing } from './timing.ts'

export interface Monitor {
  /** Preferred mode in pixels; at most 16384 by 16384. */
  readonly width: number
  readonly height: number
  readonly serial: number
}

const NAME = 'Outboard'
const MODEL = { vendor: 'OBD', model: 1, year: 2026 }

/** Density at which desktops do not scale. */
const DOTS_PER_INCH = 96
const MM_PER_INCH = 25.4
/** Largest size that a base block can state: 255 cm. */
const MAX_MM = 2550

/** Limits of a detailed timing in the base block. */
const MAX_DETAILED_SIDE = 4095
const MAX_DETAILED_CLOCK = 0xffff

/** 640 by 480, 800 by 600, 1024 by 768, each at 60 Hz. */
const ESTABLISHED_TIMINGS = [0x21, 0x08, 0x00]

/** Further modes at 60 Hz. */
const STANDARD_TIMINGS: readonly (readonly [width: number, aspect: Aspect])[] = [
  [1920, '16:9'],
  [1920, '16:10'],
  [1680, '16:10'],
  [1600, '4:3'],
  [1600, '16:9'],
  [1440, '16:10'],
  [1280, '5:4'],
  [1280, '16:9'],
]
const ASPECT_CODES = { '16:10': 0, '4:3': 1, '5:4': 2, '16:9': 3 } as const
type Aspect = keyof typeof ASPECT_CODES

/** Chromaticities of sRGB: x and y of red, green, blue and white, 10 bits each. */
const SRGB = [0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54]

/**
 * Returns the EDID of a monitor with the given preferred mode.
 *
 *     0    header      8  vendor, model, serial, date    18  version    20  input, size, gamma, features
 *     25   colours     35 established timings            38  standard timings
 *     54   preferred timing     72 name     90 serial number     108 unused
 *     126  number of blocks that follow                  127 checksum
 *
 * A mode that does not fit the base block is stored in a DisplayID extension block. The base block then prefers 1024 by
 * 768, for guests that read only the base block.
 *
 * VESA E-EDID A2 (EDID 1.4)
 */
export function createEdid(monitor: Monitor): Uint8Array {
  const preferred = reducedBlankingTiming(monitor.width, monitor.height)
  const small = fitsDetailedTiming(preferred)
  const size = physicalSize(monitor)
  const product: Product = { ...MODEL, serial: monitor.serial }

  const base = new Uint8Array(BLOCK_SIZE)
  const view = new DataView(base.buffer)
  base.set([0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00], 0)
  view.setUint16(8, vendorCode(product.vendor))
  view.setUint16(10, product.model, true)
  view.setUint32(12, product.serial, true)
  // Week 0: not specified.
  base.set([0, product.year - 1990, 1, 4], 16)
  // Digital, 8 bits per colour, DisplayPort; gamma 2.2; RGB 4:4:4, sRGB, and the preferred timing is the native one.
  base.set([0xa5, Math.round(size.width / 10), Math.round(size.height / 10), 120, 0x06], 20)
  base.set(SRGB, 25)
  base.set(ESTABLISHED_TIMINGS, 35)
  base.set(
    STANDARD_TIMINGS.flatMap(([width, aspect]) => [width / 8 - 31, ASPECT_CODES[aspect] << 6]),
    38,
  )
  base.set(detailedTiming(small ? preferred : reducedBlankingTiming(1024, 768), size), 54)
  base.set(textDescriptor(0xfc, NAME), 72)
  base.set(textDescriptor(0xff, String(product.serial).padStart(4, '0')), 90)
  base.set([0, 0, 0, 0x10], 108)
  base[126] = small ? 0 : 1
  base[127] = checksum(base)
  if (small) return base

  const edid = new Uint8Array(2 * BLOCK_SIZE)
  edid.set(base)
  edid.set(displayIdBlock(preferred, product, size), BLOCK_SIZE)
  return edid
}

function fitsDetailedTiming({ pixelClock, horizontal, vertical }: Timing): boolean {
  const side = Math.max(horizontal.active, vertical.active, vertical.blank)
  return pixelClock <= MAX_DETAILED_CLOCK && side <= MAX_DETAILED_SIDE
}

/** Returns the size of a monitor at 96 dots per inch, scaled down to the largest size that a base block can state. */
function physicalSize({ width, height }: Monitor): PhysicalSize {
  const millimetres = MM_PER_INCH / DOTS_PER_INCH
  const scale = Math.min(millimetres, MAX_MM / Math.max(width, height))
  return { width: Math.max(10, Math.round(width * scale)), height: Math.max(10, Math.round(height * scale)) }
}

/** Packs three letters into 5 bits each. */
function vendorCode(letters: string): number {
  return [...letters].reduce((code, letter) => (code << 5) | (letter.charCodeAt(0) - 64), 0)
}

// Detailed timing descriptor, 18 bytes                                    EDID 1.4, section 3.10.2
//
//   0     2          4    5          7    8       9      10             11   12     14   15 16    17
//   clock | h active, blank, high | v active, blank, high | h front, sync | v both | high | mm, high | borders | flags
//
function detailedTiming({ pixelClock, horizontal: h, vertical: v }: Timing, mm: PhysicalSize): number[] {
  const nibbles = (high: number, low: number) => ((high >>> 8) << 4) | (low >>> 8)
  const digitalSeparateSync = 0x18
  return [
    ...[pixelClock & 0xff, pixelClock >>> 8],
    ...[h.active & 0xff, h.blank & 0xff, nibbles(h.active, h.blank)],
    ...[v.active & 0xff, v.blank & 0xff, nibbles(v.active, v.blank)],
    ...[h.front & 0xff, h.sync & 0xff, ((v.front & 0xf) << 4) | (v.sync & 0xf)],
    ((h.front >>> 8) << 6) | ((h.sync >>> 8) << 4) | ((v.front >>> 4) << 2) | (v.sync >>> 4),
    ...[mm.width & 0xff, mm.height & 0xff, nibbles(mm.width, mm.height)],
    ...[0, 0],
    digitalSeparateSync | (h.positiveSync ? 2 : 0) | (v.positiveSync ? 4 : 0),
  ]
}

/** Returns a display descriptor with a text of up to 13 characters. */
function textDescriptor(tag: number, text: string): number[] {
  const letters = [...`${text}\n`.padEnd(13)].map((letter) => letter.charCodeAt(0))
  return [0, 0, 0, tag, 0, ...letters]
}
