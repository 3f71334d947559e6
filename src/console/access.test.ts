import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { test } from 'node:test'
import { Access } from './access.ts'

const access = new Access()

function check(url: string, headers: Record<string, string>): ReturnType<Access['check']> {
  return access.check({ url, headers } as unknown as IncomingMessage)
}

const host = '127.0.0.1:8676'
const page = `/${access.token}/`

test('a token has at least 128 random bits, and differs each time', () => {
  assert.match(access.token, /^[\w-]{32}$/)
  assert.notEqual(new Access().token, access.token)
})

test('a request with the token returns the path after it', () => {
  assert.deepEqual(check(page, { host }), { allowed: true, path: '/' })
  assert.deepEqual(check(`${page}app.js?x=1`, { host }), { allowed: true, path: '/app.js' })
  assert.deepEqual(check(`/${access.token}`, { host }), { allowed: true, path: '' })
  assert.deepEqual(check(`${page}socket`, { host, origin: `http://${host}` }), { allowed: true, path: '/socket' })
})

for (const url of [
  '/',
  '',
  '/app.js',
  `/${access.token}x/`,
  `/${access.token.slice(1)}/`,
  `//${access.token}/`,
  '/é/',
]) {
  test(`a request without the right token is refused: ${url.replace(access.token.slice(1), '…') || 'no path'}`, () => {
    assert.equal(check(url, { host }).allowed, false)
  })
}

test('a Host header of another name is refused, which prevents DNS rebinding', () => {
  for (const name of [
    'evil.example',
    'evil.example:8676',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '192.0.2.1',
  ]) {
    assert.equal(check(page, { host: name }).allowed, false, name)
  }
  assert.equal(check(page, {}).allowed, false)
})

test('a forwarded port and all loopback names are accepted', () => {
  for (const name of ['localhost:9000', '[::1]:8676', '127.0.0.1', 'LOCALHOST:8676']) {
    assert.equal(check(page, { host: name }).allowed, true, name)
  }
})

test('requests from another origin are refused, also from another port of this host', () => {
  for (const origin of [
    'http://evil.example',
    'null',
    'http://127.0.0.1:9999',
    `https://${host}`,
    'http://localhost:8676',
  ]) {
    assert.equal(check(page, { host, origin }).allowed, false, origin)
  }
})
