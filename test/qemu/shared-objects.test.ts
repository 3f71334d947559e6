/** Exchange of shared objects between devices of one QEMU, without a guest. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fstatSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { GENERIC_FRONT_END } from '../../src/engines/qemu/front-ends.ts'
import { Descriptor } from '../../src/host/linux/descriptor.ts'
import { MemoryFile } from '../../src/host/linux/memory-file.ts'
import { createReactor } from '../../src/host/linux/reactor/create-reactor.ts'
import { UnixListener } from '../../src/host/linux/unix-listener.ts'
import type { NotFound } from '../../src/transport/vhost-user/shared-objects.ts'
import { NamedFiles } from '../../src/transport/vhost-user/testing/named-files.ts'
import { serveVhostUser, type VhostUserServer } from '../../src/transport/vhost-user/vhost-user-server.ts'
import { DeviceId } from '../../src/virtio/device-id.ts'
import { EchoDevice } from '../../src/virtio/testing/echo-device.ts'
import { until } from '../until.ts'
import { scratchFolder } from './device-program.ts'
import { qemu, qemuMissing } from './guest.ts'

const folder = scratchFolder()
const socketOf = (name: string): string => path.join(folder, `${name}.sock`)

/** Starts a machine with one device of each name, without a guest. */
function startMachine(names: readonly string[]): ChildProcess {
  const { program } = qemu()
  const device = `${GENERIC_FRONT_END},virtio-id=${DeviceId.ENTROPY},num_vqs=2,vq_size=64,config_size=16`
  return spawn(
    program.command,
    [
      ...program.args,
      ...['-accel', 'tcg', '-M', 'q35,memory-backend=memory', '-m', '64', '-nodefaults', '-display', 'none', '-S'],
      ...['-object', 'memory-backend-memfd,id=memory,size=64M,share=on'],
      ...names.flatMap((name) => [
        ...['-chardev', `socket,id=${name},path=${socketOf(name)}`, '-device', `${device},chardev=${name}`],
      ]),
    ],
    { env: { ...process.env, ...program.env }, stdio: 'ignore' },
  )
}

function lookup(server: VhostUserServer, uuid: Uint8Array): Promise<Descriptor | NotFound> {
  return new Promise((resolve) => server.lookup(uuid, resolve))
}

test('QEMU forwards the request for a shared object to the device that owns it', {
  skip: qemuMissing ?? false,
}, async (context) => {
  const reactor = createReactor()
  const run = reactor.run()
  const file = MemoryFile.create('an object', 4096)
  const uuid = Uint8Array.from({ length: 16 }, (_, i) => i + 1)
  const objects = new NamedFiles()
  objects.add(uuid, file.descriptor)
  const logged: string[] = []
  const serve = (name: string, objects: NamedFiles): VhostUserServer =>
    serveVhostUser(new EchoDevice(), UnixListener.listen(socketOf(name)), reactor, {
      log: (line) => logged.push(`${name}: ${line}`),
      objects,
    })
  const owner = serve('owner', objects)
  const seeker = serve('seeker', new NamedFiles())
  const machine = startMachine(['owner', 'seeker'])
  const ended = once(machine, 'exit')
  try {
    let found = await lookup(seeker, uuid)
    // QEMU up to at least 11.1 sends the request without the UUID.
    const asked = () => logged.some((line) => /^owner: .*GET_SHARED_OBJECT refused: 0 bytes/.test(line))
    await until(
      () => `QEMU asks the owner; ${logged.join('; ')}`,
      async () => {
        found = await lookup(seeker, uuid)
        return !('reason' in found) || asked()
      },
    )
    if (found instanceof Descriptor) {
      assert.equal(fstatSync(found.fd).ino, fstatSync(file.descriptor.fd).ino)
      found.close()
    } else {
      context.diagnostic(`QEMU ${qemu().version} brings no descriptor: ${found.reason}; ${logged.join('; ')}`)
    }
    const absent = await lookup(seeker, uuid.toReversed())
    assert.match('reason' in absent ? absent.reason : '', /^no device has/)
    objects.remove(uuid)
    const gone = await lookup(seeker, uuid)
    assert.match('reason' in gone ? gone.reason : '', /^no device has/)
    assert.doesNotMatch(logged.join('\n'), /refused shared object|did not know/)
  } finally {
    machine.kill()
    await ended
    for (const server of [owner, seeker]) server.close()
    await Promise.all([owner.closed, seeker.closed])
    reactor.stop()
    await run
    reactor.close()
    file.close()
  }
})
