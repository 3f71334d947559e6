/**
 * A station at the far end, in a namespace of its own: gets an address on an interface once that is there, and sends
 * back all that TCP brings it.
 *
 *     unshare -n node echo-station.js INTERFACE ADDRESS/BITS PORT
 */
import { execFileSync } from 'node:child_process'
import { createServer } from 'node:net'

const [name, address, port] = process.argv.slice(2)
process.stdin.once('data', () => {
  for (const words of [
    ['addr', 'add', address, 'dev', name],
    ['link', 'set', name, 'up'],
  ]) {
    execFileSync('ip', words)
  }
  createServer((socket) => socket.pipe(socket)).listen(Number(port), () => process.stdout.write('ready\n'))
})
process.stdin.on('end', () => process.exit())
process.stdout.write('started\n')
