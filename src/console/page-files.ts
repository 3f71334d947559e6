import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** Folder that the build writes the page to, relative to this compiled module. */
const FOLDER = new URL('../../web/', import.meta.url)

const CONTENT_TYPES = {
  'index.html': 'text/html; charset=utf-8',
  'app.js': 'text/javascript; charset=utf-8',
  'app.css': 'text/css; charset=utf-8',
  'icon.svg': 'image/svg+xml',
} as const

export interface PageFile {
  readonly contentType: string
  readonly body: Uint8Array
}

/** Loads the page's files, by their path. @throws {Error} if the page is not built */
export async function loadPageFiles(): Promise<ReadonlyMap<string, PageFile>> {
  const files = new Map<string, PageFile>()
  for (const [name, contentType] of Object.entries(CONTENT_TYPES)) {
    try {
      files.set(`/${name}`, { contentType, body: await readFile(new URL(name, FOLDER)) })
    } catch {
      throw new Error(`the page is not built: ${fileURLToPath(new URL(name, FOLDER))} is missing; run npm run build`)
    }
  }
  const index = files.get('/index.html')
  if (index) files.set('/', index)
  return files
}
