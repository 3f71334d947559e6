const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })

export function formatCount(value: number): string {
  return whole.format(value)
}

export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024
  return `${short.format(value)} ${UNITS[unit]}`
}

/** Formats a name: `lastDamage` becomes `last damage`; names from the specification stay unchanged. */
export function formatName(name: string): string {
  if (!/[a-z]/.test(name)) return name
  return name.replace(/([a-z\d])([A-Z])/g, (_, before: string, after: string) => `${before} ${after.toLowerCase()}`)
}

/** Formats a plain value, a size or a rectangle. @returns undefined for an object with parts of its own */
export function formatValue(name: string, value: unknown): string | undefined {
  if (value === null || value === undefined || value === '') return '–'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'number') return /bytes/i.test(name) ? formatBytes(value) : formatCount(value)
  if (typeof value === 'string') return value
  if (typeof value !== 'object') return String(value)
  const parts = Object.entries(value)
  if (parts.length === 0) return 'none'
  if (Array.isArray(value)) return parts.every(([, part]) => isPlain(part)) ? value.join(', ') : undefined
  const { x, y, width, height } = value as Record<string, unknown>
  if (typeof width !== 'number' || typeof height !== 'number') return undefined
  const size = `${width} × ${height}`
  if (parts.length === 2) return size
  return parts.length === 4 && typeof x === 'number' && typeof y === 'number' ? `${size} at ${x}, ${y}` : undefined
}

function isPlain(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}
