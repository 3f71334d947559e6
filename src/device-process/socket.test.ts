import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { ffiMissing } from '../host/linux/ffi.ts'
import { UnixListener } from '../host/linux/unix-listener.ts'
import { UnixStream } from '../host/linux/unix-stream.ts'
import { activatedFd, openSocket } from './socket.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-socket-'))
after(() => rmSync(folder, { recursive: true }))
const skip = ffiMissing() ?? false

test('a path is listened on, and refused in one line where that cannot be', { skip }, () => {
  const file = path.join(folder, 'a.sock')
  const listener = openSocket({ socketPath: file }, {})
  assert.ok(listener instanceof UnixListener)
  assert.throws(() => openSocket({ socketPath: file }, {}), /a\.sock is in use/)
  listener.close()
  assert.throws(() => openSocket({ socketPath: path.join(folder, 'none/a.sock') }, {}), /folder of .* does not exist/)
})

test('a descriptor is a socket that listens, one that is connected, or refused', { skip }, () => {
  const file = path.join(folder, 'b.sock')
  const listener = UnixListener.listen(file)
  const client = UnixStream.connect(file)
  const accepted = listener.accept()
  assert.ok(accepted)
  const served = openSocket({ fd: accepted.descriptor.release() }, {})
  assert.ok(served instanceof UnixStream)
  const again = openSocket({ fd: listener.descriptor.release() }, {})
  assert.ok(again instanceof UnixListener)
  for (const socket of [served, again, client]) socket.close()
  assert.throws(() => openSocket({ fd: 1 << 19 }, {}), /descriptor 524288 is not a socket/)
})

test('one socket is wanted, from one of three places', { skip }, () => {
  assert.throws(() => openSocket({}, {}), /give a socket: --socket-path PATH, --fd NUMBER/)
  assert.throws(() => openSocket({ socketPath: 'a', fd: 3 }, {}), /not both/)
})

test('systemd gives descriptor 3 to the process it names', () => {
  assert.equal(activatedFd({ LISTEN_PID: String(process.pid), LISTEN_FDS: '1' }), 3)
  assert.equal(activatedFd({ LISTEN_PID: String(process.pid + 1), LISTEN_FDS: '1' }), undefined)
  assert.equal(activatedFd({}), undefined)
  assert.throws(() => activatedFd({ LISTEN_PID: String(process.pid), LISTEN_FDS: '2' }), /systemd passes 2/)
})
