/**
 * `node dist/scripts/proven.js [spec]`: which tests prove which clause, from the tags in their names.
 *
 *     ## @virtio
 *     2.4.1     a reset at each step of the initialisation leads back to the start    src/virtio/device-reset.test.ts
 */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const FOLDERS = ['src', 'test', 'examples']

interface Proof {
  readonly clause: string
  readonly test: string
  readonly file: string
}

/** Names of tests are what stands in quotes after `test(`; a tag is `@spec` and clauses, up to the name's end. */
const TEST_NAME = /\btest\(\s*(['"`])((?:\\.|(?!\1).)*)\1/gs
const TAG = /@([a-z-]+) ((?:[\w.]+(?:, )?)+)/g

function* proofsIn(file: string): Generator<Proof & { readonly spec: string }> {
  const source = readFileSync(path.join(ROOT, file), 'utf8')
  for (const [, , name] of source.matchAll(TEST_NAME)) {
    const test = name.replace(TAG, '').trim()
    for (const [, spec, clauses] of name.matchAll(TAG)) {
      for (const clause of clauses.split(', ')) yield { spec, clause, test, file }
    }
  }
}

const wanted = process.argv[2]
const specs = new Map<string, Proof[]>()
for (const folder of FOLDERS) {
  for (const file of readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' }).sort()) {
    if (!file.endsWith('.test.ts')) continue
    for (const { spec, ...proof } of proofsIn(path.join(folder, file))) {
      const proofs = specs.get(spec) ?? []
      specs.set(spec, proofs)
      proofs.push(proof)
    }
  }
}

for (const [spec, proofs] of [...specs].sort()) {
  if (wanted !== undefined && wanted !== spec) continue
  proofs.sort((a, b) => a.clause.localeCompare(b.clause, 'en', { numeric: true }))
  const clauses = new Set(proofs.map(({ clause }) => clause)).size
  console.log(`\n## @${spec}: ${clauses} clauses, ${proofs.length} proofs`)
  const width = Math.max(...proofs.map(({ clause }) => clause.length))
  for (const { clause, test, file } of proofs) console.log(`${clause.padEnd(width)}  ${test}    ${file}`)
}
