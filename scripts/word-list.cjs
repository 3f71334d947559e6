// Words that hide who does what: docs/glossary.md has the names of the parties. Each may stand in few lines.
const { readdirSync, readFileSync } = require('node:fs')

const MAX_LINES = 9
const WORDS = ['nobody', 'somebody', 'whoever', 'anybody', 'told']

const FOLDERS = ['src', 'test', 'examples', 'bench', 'scripts', 'docs']

const files = FOLDERS.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(ts|md)$/.test(file))
    .map((file) => `${folder}/${file}`),
)
const lines = ['README.md', ...files].flatMap((file) =>
  readFileSync(file, 'utf8')
    .split('\n')
    .map((text, i) => ({ place: `${file}:${i + 1}`, text })),
)
for (const word of WORDS) {
  const pattern = new RegExp(`\\b${word}\\b`, 'i')
  const found = lines.filter(({ text }) => pattern.test(text))
  if (found.length <= MAX_LINES) continue
  process.stderr.write(`'${word}' stands in ${found.length} lines; name the party instead (docs/glossary.md):\n`)
  for (const { place, text } of found) process.stderr.write(`  ${place}: ${text.trim()}\n`)
  process.exitCode = 1
}
