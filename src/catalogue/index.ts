import { UsageError } from '../services/usage-error.ts'
import type { DeviceKind } from './device-kind.ts'

/** Kinds of devices by name. Each is loaded when it is needed: a device process must be ready soon. */
const KINDS: Readonly<Record<string, () => Promise<DeviceKind>>> = {
  balloon: async () => (await import('./balloon.ts')).balloonKind,
  block: async () => (await import('./block.ts')).blockKind,
  console: async () => (await import('./console.ts')).consoleKind,
  entropy: async () => (await import('./entropy.ts')).entropyKind,
  gpu: async () => (await import('./gpu.ts')).gpuKind,
  input: async () => (await import('./input.ts')).inputKind,
  net: async () => (await import('./net.ts')).netKind,
}

/** Kinds that plug-ins added, by name. */
const added = new Map<string, DeviceKind>()

/**
 * Catalogue of the kinds of devices: ours, and those of plug-ins. Commands, engines, `doctor`, the packaging files and the guest
 * images read it.
 */
export function kindNames(): string[] {
  return [...Object.keys(KINDS), ...added.keys()]
}

/** Loads one kind. @throws {UsageError} if there is none of this name */
export async function loadKind(name: string): Promise<DeviceKind> {
  const plugin = added.get(name)
  if (plugin) return plugin
  if (Object.hasOwn(KINDS, name)) return await KINDS[name]()
  throw new UsageError(`there is no kind of device ${name}: choose one of ${kindNames().join(', ')}`)
}

export async function loadKinds(): Promise<DeviceKind[]> {
  return await Promise.all(kindNames().map(loadKind))
}

/**
 * Adds the kinds of devices that modules export as their defaults. Adding a module again has no effect.
 * @param modules URLs
 * @throws {UsageError} if a module cannot be loaded, has no kind of device, or the name is taken
 */
export async function addPlugins(modules: readonly string[]): Promise<void> {
  for (const module of modules) {
    const kind = await importKind(module)
    const { name } = kind
    if (Object.hasOwn(KINDS, name) || (added.has(name) && added.get(name) !== kind)) {
      throw new UsageError(`plug-in ${module}: there is a kind of device ${name} already`)
    }
    added.set(name, kind)
  }
}

async function importKind(module: string): Promise<DeviceKind> {
  let kind: unknown
  try {
    ;({ default: kind } = await import(module))
  } catch (error) {
    throw new UsageError(`plug-in ${module} cannot be loaded: ${error instanceof Error ? error.message : error}`)
  }
  if (!isDeviceKind(kind)) {
    throw new UsageError(`plug-in ${module}: the default export must be a kind of device, made by deviceKind()`)
  }
  return kind
}

function isDeviceKind(value: unknown): value is DeviceKind {
  if (typeof value !== 'object' || value === null) return false
  const kind: Record<string, unknown> = { ...value }
  return (
    typeof kind['name'] === 'string' &&
    /^[a-z][a-z0-9-]*$/.test(kind['name']) &&
    typeof kind['summary'] === 'string' &&
    typeof kind['options'] === 'object' &&
    typeof kind['open'] === 'function' &&
    typeof kind['build'] === 'function'
  )
}
