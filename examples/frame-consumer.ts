/** `node dist/examples/frame-consumer.js SOCKET`: what a guest's screens show, read where the guest drew it. */
import { FrameClient } from '../src/linux.ts'

const client = await FrameClient.connect(process.argv[2])
client.listen({
  scanout: ({ index, path = 'off', reason }) => console.log(`screen ${index}: ${path}, ${reason}`),
})
for await (const frame of client.frames()) {
  const { scanout, picture, source, damage, sequence } = frame
  const [{ offset, stride }] = picture.planes
  for (const { x, y, width, height } of damage) {
    const first = offset + (source.y + y) * stride + 4 * (source.x + x)
    const pixel = frame.bytes.subarray(first, first + 4)
    console.log(`screen ${scanout} frame ${sequence}: ${width}x${height} at ${x},${y} from ${pixel.join(' ')}`)
  }
  frame.acknowledge()
}
