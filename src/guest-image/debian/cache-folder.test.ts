import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { cacheFolder } from './cache-folder.ts'

const { HOME, XDG_CACHE_HOME, TMPDIR } = process.env
afterEach(() => setVariables({ HOME, XDG_CACHE_HOME, TMPDIR }))

function setVariables(variables: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
}

test('XDG_CACHE_HOME precedes HOME, HOME precedes TMPDIR, and relative paths are ignored', () => {
  const cases = [
    ['/cache', '/home/me', '/scratch', '/cache/outboard'],
    [undefined, '/home/me', '/scratch', '/home/me/.cache/outboard'],
    ['cache', '/home/me', '/scratch', '/home/me/.cache/outboard'],
    ['', '/home/me', undefined, '/home/me/.cache/outboard'],
    // For an empty HOME, passwd is not searched.
    ['', '', '/scratch', `/scratch/outboard-${process.getuid?.()}`],
  ] as const
  for (const [XDG_CACHE_HOME, HOME, TMPDIR, expected] of cases) {
    setVariables({ XDG_CACHE_HOME, HOME, TMPDIR })
    assert.equal(cacheFolder(), expected)
  }
  setVariables({ XDG_CACHE_HOME: '', HOME: '', TMPDIR: 'scratch' })
  assert.throws(cacheFolder, /no home folder; set HOME, XDG_CACHE_HOME or TMPDIR/)
})
