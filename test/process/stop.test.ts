import assert from 'node:assert/strict'
import { existsSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { UnixStream } from '../../src/host/linux/unix-stream.ts'
import { scratchFolder, startDevice } from '../qemu/device-program.ts'
import { PROCESS_KINDS } from './reactor-kinds.ts'

const folder = scratchFolder()

/** Creates a disk for one device. */
function disk(name: string): string {
  const file = path.join(folder, name)
  writeFileSync(file, '')
  truncateSync(file, 1 << 20)
  return file
}

const DEVICES: readonly (readonly string[])[] = [
  ['block', `--blk-file=${disk('one.img')}`],
  ['block', `--blk-file=${disk('two.img')}`, '--queues=2', '--workers=2'],
  ['console'],
  ['entropy'],
  ['gpu'],
  ['input', '--kind=keyboard'],
]

for (const { kind, skip, environment } of PROCESS_KINDS) {
  for (const transport of ['vhost-user', 'vfio-user']) {
    test(`SIGTERM ends a sleeping device, with and without a peer: ${transport}, ${kind}`, { skip }, async () => {
      const served = DEVICES.filter((args) => transport === 'vhost-user' || !args.includes('--workers=2'))
      for (const connected of [false, true]) {
        const stops = served.map(async (args, i) => {
          const socket = path.join(folder, `device-${i}.sock`)
          const device = await startDevice(
            [...args, `--transport=${transport}`, `--socket-path=${socket}`],
            environment,
          )
          after(() => device.child.kill('SIGKILL'))
          assert.ok(device.log.join('\n').includes(`ready, on ${kind}`), device.log.join('\n'))
          const stream = connected ? UnixStream.connect(socket) : undefined
          assert.equal(await device.stop(), 0, `${args}: ${device.log.join('\n')}`)
          assert.ok(!existsSync(socket), `${args} left its socket`)
          stream?.close()
        })
        await Promise.all(stops)
      }
    })
  }
}
