import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

/** Forwarded port, which the test can break. */
export class BreakableLink {
  readonly #server: Server
  readonly #ends = new Set<Socket>()
  #isBroken = false

  private constructor(target: number) {
    this.#server = createServer((near) => {
      if (this.#isBroken) {
        near.destroy()
        return
      }
      const far = connect(target, '127.0.0.1')
      for (const [end, other] of [
        [near, far],
        [far, near],
      ]) {
        this.#ends.add(end)
        end.on('error', () => other.destroy())
        end.on('close', () => this.#ends.delete(end))
        end.pipe(other)
      }
    })
  }

  /**
   * @param url address of what is served; the link's own differs in the port
   * @param context the test, whose end closes it
   */
  static async to(url: string, context: TestContext): Promise<{ link: BreakableLink; url: string }> {
    const link = new BreakableLink(Number(new URL(url).port))
    await new Promise<void>((resolve) => link.#server.listen(0, '127.0.0.1', resolve))
    context.after(() => link.#close())
    const through = new URL(url)
    through.port = String((link.#server.address() as AddressInfo).port)
    return { link, url: through.href }
  }

  /** Closes every connection, and refuses new ones until the link is repaired. */
  break(): void {
    this.#isBroken = true
    for (const end of this.#ends) end.destroy()
  }

  mend(): void {
    this.#isBroken = false
  }

  async #close(): Promise<void> {
    this.break()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
