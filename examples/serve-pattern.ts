/** `node dist/examples/serve-pattern.js SOCKET`: gives the device to a monitor that speaks vfio-user, one after another. */
import { createReactor, serveVfioUser, UnixListener } from '../src/linux.ts'
import { PatternFunction } from './pattern-function.ts'

const socket = UnixListener.listen(process.argv[2])
const reactor = createReactor()
serveVfioUser((bus, memory) => new PatternFunction(bus, memory), socket, reactor, { log: console.error })
console.error('pattern: ready')
await reactor.run()
