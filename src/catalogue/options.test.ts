import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UsageError } from '../services/usage-error.ts'
import { parseAddedDevice } from './machine-device.ts'
import {
  choice,
  flag,
  integer,
  list,
  optionalText,
  parsed,
  parseSettings,
  settingsArguments,
  settingsOf,
  text,
  unless,
  withDefault,
} from './options.ts'

const TABLE = {
  blkFile: text('path', 'file of the disk'),
  readOnly: flag('refuses writes'),
  blob: unless('has no blob resources'),
  queues: withDefault(parsed('number', 'number of queues', integer(1, 16)), 1),
  format: choice(['raw', 'qcow2'], 'format'),
  user: list('id', 'further user', integer(0, 9)),
  passt: optionalText('options', 'network of passt'),
}
const ABSENT = {
  blkFile: undefined,
  readOnly: false,
  blob: true,
  queues: 1,
  format: undefined,
  user: [],
  passt: undefined,
}

test('options that are absent have their defaults', () => {
  assert.deepEqual(parseSettings(TABLE, {}), ABSENT)
})

test('options have the values of their settings, by name in kebab case', () => {
  const given = ['blk-file=a=b', 'read-only', 'no-blob', 'queues=4', 'format=qcow2', 'user=1', 'user=2', 'passt']
  assert.deepEqual(parseSettings(TABLE, settingsOf(given)), {
    blkFile: 'a=b',
    readOnly: true,
    blob: false,
    queues: 4,
    format: 'qcow2',
    user: [1, 2],
    passt: true,
  })
})

test('settings become the arguments that they were read from', () => {
  const given = ['blk-file=disk.img', 'read-only', 'user=1', 'user=2']
  assert.deepEqual(
    settingsArguments(settingsOf(given)),
    given.map((one) => `--${one}`),
  )
})

for (const [option, message] of [
  ['size=1', /^there is no option size; its options are blk-file, read-only, no-blob/],
  ['__proto__=1', /^there is no option __proto__/],
  ['blob', /^there is no option blob/],
  ['blk-file', /^option blk-file: Give a value\.$/],
  ['read-only=1', /^option read-only: Give no value\.$/],
  ['queues=0', /^option queues: Give a whole number from 1 to 16\.$/],
  ['queues=1e1', /^option queues: Give a whole number/],
  ['format=vmdk', /^option format: Give one of raw, qcow2\.$/],
] as const) {
  test(`the option ${option} is refused with the reason`, () => {
    assert.throws(() => parseSettings(TABLE, settingsOf([option])), { name: new UsageError('').name, message })
  })
}

test('an added device is a kind with options behind commas, of which doubled ones belong to a value', () => {
  assert.deepEqual(parseAddedDevice('entropy'), { kind: 'entropy', settings: {} })
  assert.deepEqual(parseAddedDevice('block,blk-file=a,,b.img,read-only'), {
    kind: 'block',
    settings: { 'blk-file': 'a,b.img', 'read-only': true },
  })
  assert.throws(() => parseAddedDevice(',read-only'), UsageError)
})
