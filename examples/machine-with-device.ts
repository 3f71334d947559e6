/** `node dist/examples/machine-with-device.js`: boots a guest with a device of your own, and reads from it. */
import { createV86Machine, I386_IMAGE, prepareGuestImage } from '../src/node.ts'

const image = await prepareGuestImage(I386_IMAGE)
const machine = createV86Machine({ ...image, devices: [new URL('./dice.js', import.meta.url)] })
machine.listen({ progress: console.error })
await machine.start()
const command = 'cd /sys/class/misc/hw_random; echo virtio_rng.1 > rng_current; head -c 8 /dev/hwrng | hexdump -C'
await machine.exec(command, { stdout: (bytes) => void process.stdout.write(bytes), stderr: console.error })
await machine.stop()
