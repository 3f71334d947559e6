import { AMD64_RECIPE, I386_RECIPE, type Recipe } from '../guest-image/recipe.ts'
import { loadKinds } from './index.ts'

/** Adds the drivers of all kinds of devices to a guest image. The guest loads those that its devices need. */
export async function withDrivers<Firmware extends string>(recipe: Recipe<Firmware>): Promise<Recipe<Firmware>> {
  const modules = (await loadKinds()).flatMap(({ guestModules, guestArchitectures: known }) =>
    known === undefined || known.includes(recipe.architecture) ? guestModules : [],
  )
  return { ...recipe, modules: [...new Set([...recipe.modules, ...modules])] }
}

/** Image for `createV86Machine`, with the drivers of our own kinds of devices. */
export const I386_IMAGE = await withDrivers(I386_RECIPE)

/** Image for `createQemuMachine`, with the drivers of our own kinds of devices. */
export const AMD64_IMAGE = await withDrivers(AMD64_RECIPE)
