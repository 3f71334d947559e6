import { findQemus } from '../src/engines/qemu/qemu.ts'
import { GuestImageError, prepareGuestImage } from '../src/guest-image/guest-image.ts'
import { runInGuest } from '../test/udmabuf/driver-guest.ts'
import { UDMABUF_IMAGE } from '../test/udmabuf/udmabuf-image.ts'
import type { Elsewhere } from './bench.ts'

/** Begins the lines that are a report. */
export const REPORT = 'report: '
const NEEDED = ['virtio-9p-pci', 'virtio-gpu-pci', 'virtserialport']
const MEMORY_MIB = 2048
/** An emulated processor is slow, and evenly so. */
const MAX_ROUNDS = 2

/** Boots a kernel that has the driver, in QEMU without a virtual processor of this machine's, and measures there. */
export async function measureInGuest(
  rounds: number,
  seed: number,
  progress: (line: string) => void,
): Promise<Elsewhere | string> {
  const qemu = (await findQemus()).findLast(({ devices }) => NEEDED.every((device) => devices.has(device)))
  if (!qemu)
    return `dma-bufs: there is no /dev/udmabuf here, and no QEMU with ${NEEDED.join(', ')} for a guest that has it`
  try {
    const image = await prepareGuestImage(UDMABUF_IMAGE)
    let text = ''
    const { status, output } = await runInGuest({
      qemu,
      image,
      memoryMiB: MEMORY_MIB,
      tests: new URL('./gpu-in-guest.js', import.meta.url),
      environment: { BENCH_ROUNDS: `${Math.min(rounds, MAX_ROUNDS)}`, BENCH_SEED: `${seed}` },
      onLine(line) {
        if (line.startsWith(REPORT)) text += line.slice(REPORT.length)
        else progress(`in the guest: ${line}`)
      },
    })
    if (status !== 0) return `dma-bufs: the guest with the driver ended with ${status}\n${output}`
    const where = `In a guest with the real driver: its processor is emulated (QEMU ${qemu.version}), so compare only what is below.`
    return { where, report: JSON.parse(text) }
  } catch (error) {
    if (error instanceof GuestImageError) return `dma-bufs: ${error.message}`
    throw error
  }
}
