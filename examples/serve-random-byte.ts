/** `node dist/examples/serve-random-byte.js SOCKET`: gives the device to a monitor that speaks vhost-user. */
import { randomInt } from 'node:crypto'
import { createReactor, serveVhostUser, UnixListener } from '../src/linux.ts'
import { RandomByteDevice } from './random-byte-device.ts'

const socket = UnixListener.listen(process.argv[2])
const reactor = createReactor()
serveVhostUser(new RandomByteDevice(() => randomInt(256)), socket, reactor, { log: console.error })
console.error('random-byte: ready')
await reactor.run()
