/**
 * A station at the far end, in a namespace of its own: gets an address and a way out on an interface once that is
 * there, fetches a file, and tells its checksum.
 *
 *     unshare -n node fetch-station.js INTERFACE MAC ADDRESS/BITS GATEWAY URL
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'

const [name, mac, address, gateway, url] = process.argv.slice(2)
process.stdin.once('data', async () => {
  try {
    // passt drops packets that are not received in time, and repeats them: a small window makes it wait instead.
    writeFileSync('/proc/sys/net/ipv4/tcp_rmem', '4096 65536 65536')
  } catch {
    // If the window cannot be changed, the transfer takes longer.
  }
  for (const words of [
    ['link', 'set', name, 'address', mac],
    ['addr', 'add', address, 'dev', name],
    ['link', 'set', name, 'up'],
    ['route', 'add', 'default', 'via', gateway],
  ]) {
    execFileSync('ip', words)
  }
  const response = await fetch(url)
  const body = new Uint8Array(await response.arrayBuffer())
  process.stdout.write(`${body.length} ${createHash('sha256').update(body).digest('hex')}\n`)
})
process.stdin.on('end', () => process.exit())
process.stdout.write('started\n')
