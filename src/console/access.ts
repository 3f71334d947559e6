import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

const TOKEN_BYTES = 24
/** Host names of the loopback interface. Any port is accepted: the page may be reached through a forwarded one. */
const OWN_HOST = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?$/i

export type Verdict =
  | { readonly allowed: true; readonly path: string }
  | { readonly allowed: false; readonly why: string }

/**
 * Access to the page: requires the token, which is the first segment of the path.
 *
 * In the path it survives reloads and new tabs and is not sent elsewhere: the page sends no Referer and the server logs
 * no requests. A cookie would be sent to every port of this host.
 */
export class Access {
  readonly token = randomBytes(TOKEN_BYTES).toString('base64url')

  /**
   * Checks the host name, origin and token of a request.
   * @returns the path after the token, or the reason for the refusal
   */
  check(request: IncomingMessage): Verdict {
    const { host, origin } = request.headers
    // DNS rebinding: a page of another site reaches this address by its own name, which the Host header then has.
    if (!host || !OWN_HOST.test(host)) return { allowed: false, why: 'The Host header is not the name of this server.' }
    if (origin !== undefined && origin !== `http://${host}`) {
      return { allowed: false, why: 'Requests from other origins are refused.' }
    }
    const [, token, path] = /^\/([^/?]*)([^?]*)/.exec(request.url ?? '') ?? []
    if (token === undefined || !this.#isToken(token)) {
      return {
        allowed: false,
        why: 'The address is incomplete or expired. Open the one that the server printed.',
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
