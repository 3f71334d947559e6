import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

const TOKEN_BYTES = 24
/** Names by which this machine reaches itself. Any port: the page may come through a forwarded one. */
const OWN_HOST = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?$/i

export type Verdict =
  | { readonly allowed: true; readonly path: string }
  | { readonly allowed: false; readonly why: string }

/**
 * Access to the page: requires the token, which is the first part of the path.
 *
 * In the path it stays with every reload and new tab, and goes nowhere else: the page sends no Referer and the server keeps no
 * log of requests. A cookie would be sent to every port of this machine.
 */
export class Access {
  readonly token = randomBytes(TOKEN_BYTES).toString('base64url')

  /** What of the path is left behind the token, or why the request is refused. */
  check(request: IncomingMessage): Verdict {
    const { host, origin } = request.headers
    // A page of another site may reach this address by a name of its own (DNS rebinding): its Host gives it away.
    if (!host || !OWN_HOST.test(host)) return { allowed: false, why: 'This server has another name.' }
    if (origin !== undefined && origin !== `http://${host}`) {
      return { allowed: false, why: 'Pages of other origins are not served.' }
    }
    const [, token, path] = /^\/([^/?]*)([^?]*)/.exec(request.url ?? '') ?? []
    if (token === undefined || !this.#isToken(token)) {
      return {
        allowed: false,
        why: 'The address is not complete or not valid any more. Open the one the server printed.',
      }
    }
    return { allowed: true, path }
  }

  #isToken(candidate: string): boolean {
    const given = Buffer.from(candidate)
    const right = Buffer.from(this.token)
    return given.length === right.length && timingSafeEqual(given, right)
  }
}
