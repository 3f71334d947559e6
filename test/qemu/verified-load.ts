import assert from 'node:assert/strict'
import { randomFillSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { DiskGuest } from './disk-guest.ts'

/** Bytes of one write. */
const BYTES = 128 << 10
/** Places on the disk for each writer. One unused place separates it from the next writer. */
const PLACES = 3
/**
 * Contents of each writer. The number does not divide that of places, so that every content is written to every place.
 */
const CONTENTS = 8
const WRITERS = 9
/** Time after which a write counts as lost. */
const TIMEOUT_MS = 60_000
/** The disk's. */
export const LOAD_BYTES = WRITERS * (PLACES + 1) * BYTES

/** Contents of the writes: random bytes, in a file that is the guest's second disk. */
export class LoadContents {
  readonly #bytes = randomFillSync(new Uint8Array(WRITERS * CONTENTS * BYTES))

  constructor(file: string) {
    writeFileSync(file, this.#bytes)
  }

  of(writer: number, index: number): Uint8Array {
    const at = (writer * CONTENTS + index) * BYTES
    return this.#bytes.subarray(at, at + BYTES)
  }
}

/**
 * Writers in the guest, all at once: each writes its places in turn, reads the oldest one back, and says what is
 * written. Every third goes through the guest's page cache and flushes, the others past it.
 *
 *     const contents = new LoadContents(file)
 *     const guest = await bootDiskGuest({ ..., data: file })
 *     const load = await VerifiedLoad.start(guest, contents)
 *     ...
 *     await load.stop()
 *     load.check(image)
 */
export class VerifiedLoad {
  /** Number of acknowledged writes, by writer. */
  readonly acknowledged = new Array<number>(WRITERS).fill(0)
  /** Errors in the guest. */
  readonly failures: string[] = []
  readonly #guest: DiskGuest
  #heard: () => void = () => {}

  private constructor(
    guest: DiskGuest,
    private readonly contents: LoadContents,
  ) {
    this.#guest = guest
    guest.onLine = (line) => this.#take(line)
  }

  static async start(guest: DiskGuest, contents: LoadContents): Promise<VerifiedLoad> {
    const load = new VerifiedLoad(guest, contents)
    await guest.run(SCRIPT)
    return load
  }

  /** Resolves after a number of further writes. @throws on a time-out, or if a write fails */
  async progress(writes: number): Promise<void> {
    const enough = this.total + writes
    await this.#until(() => this.total >= enough)
  }

  /** Resolves after one further write of every writer, which shows that none waits for a lost request. */
  async allProgress(): Promise<void> {
    const before = [...this.acknowledged]
    await this.#until(() => this.acknowledged.every((count, writer) => count > before[writer]))
  }

  get total(): number {
    return this.acknowledged.reduce((sum, count) => sum + count)
  }

  /** Stops the writers after their current writes. */
  async stop(): Promise<void> {
    await this.#guest.run('touch /tmp/stop; while [ -n "$(ls /tmp/running)" ]; do sleep 0.1; done')
  }

  /**
   * Compares the disk's image with the acknowledged writes.
   * @param ended true if the writers ended; otherwise each may have done any part of one further write
   * @returns descriptions of the differences
   */
  check(image: string, ended = true): string[] {
    const bytes = readFileSync(image)
    const found: string[] = []
    for (let place = 0; place < WRITERS * (PLACES + 1); place++) {
      const writer = Math.floor(place / (PLACES + 1))
      const own = place % (PLACES + 1)
      const allowed = own === PLACES ? [NOTHING] : this.#allowed(writer, own, ended)
      const wrong = firstWrong(bytes.subarray(place * BYTES, (place + 1) * BYTES), allowed)
      if (wrong === undefined) continue
      found.push(`writer ${writer}, ${this.acknowledged[writer]} writes, place ${own}, byte ${wrong}`)
    }
    return found
  }

  /** Allowed contents of a place: the last acknowledged one, and one that may have been in flight. */
  #allowed(writer: number, place: number, ended: boolean): Uint8Array[] {
    const count = this.acknowledged[writer]
    const last = count - ((((count - place) % PLACES) + PLACES) % PLACES)
    const allowed = [last > 0 ? this.contents.of(writer, last % CONTENTS) : NOTHING]
    if (!ended && (count + 1) % PLACES === place) allowed.push(this.contents.of(writer, (count + 1) % CONTENTS))
    return allowed
  }

  #take(line: string): void {
    const written = /^written (\d+) (\d+)$/.exec(line)
    if (written) this.acknowledged[Number(written[1])] = Number(written[2])
    else if (line.startsWith('failed')) this.failures.push(line)
    else return
    this.#heard()
  }

  async #until(done: () => boolean): Promise<void> {
    const late = setTimeout(() => {
      this.failures.push(`nothing for ${TIMEOUT_MS} ms after ${this.acknowledged.join(' ')}`)
      this.#heard()
    }, TIMEOUT_MS)
    await new Promise<void>((resolve) => {
      this.#heard = () => {
        if (done() || this.failures.length > 0) resolve()
      }
      this.#heard()
    })
    clearTimeout(late)
    this.#heard = () => {}
    assert.deepEqual(this.failures, [])
  }
}

const NOTHING = new Uint8Array(BYTES)

/** Returns the offset of the first sector that is in none of the allowed contents. */
function firstWrong(bytes: Uint8Array, allowed: readonly Uint8Array[]): number | undefined {
  for (let at = 0; at < bytes.length; at += 512) {
    const sector = Buffer.from(bytes.buffer, bytes.byteOffset + at, 512)
    if (!allowed.some((one) => sector.equals(one.subarray(at, at + 512)))) return at
  }
  return undefined
}

const SCRIPT = `
mkdir -p /tmp/running
fail() {
	echo "failed: writer $w, write $i: $1"
	rm /tmp/running/$w
	exit 1
}
writer() {
	w=$1 first=$((w * ${PLACES + 1})) how='oflag=direct conv=notrunc' i=0
	[ $((w % 3)) = 2 ] && how=conv=fsync,notrunc
	for c in $(seq 0 ${CONTENTS - 1}); do
		dd if=/dev/vdb of=/tmp/w\${w}c$c bs=${BYTES} count=1 skip=$((w * ${CONTENTS} + c)) 2>/tmp/e$w || fail "$(cat /tmp/e$w)"
	done
	while [ ! -e /tmp/stop ]; do
		i=$((i + 1))
		dd if=/tmp/w\${w}c$((i % ${CONTENTS})) of=/dev/vda bs=${BYTES} seek=$((first + i % ${PLACES})) $how 2>/tmp/e$w ||
			fail "$(cat /tmp/e$w)"
		echo "written $w $i"
		old=$((i - ${PLACES - 1}))
		[ $old -le 0 ] && continue
		dd if=/dev/vda bs=${BYTES} count=1 skip=$((first + old % ${PLACES})) iflag=direct 2>/tmp/e$w |
			cmp - /tmp/w\${w}c$((old % ${CONTENTS})) || fail "read: $(cat /tmp/e$w)"
	done
	rm /tmp/running/$w
}
for w in $(seq 0 ${WRITERS - 1}); do
	touch /tmp/running/$w
	writer $w &
done
`
