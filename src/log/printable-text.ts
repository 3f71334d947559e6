/** Control characters, line separators and bidirectional controls. A tab is allowed. */
const CONTROLS = /(?!\t)[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/**
 * Makes text from a guest or a peer safe to print on a terminal: one line, with control characters as escapes.
 *
 *     printableText('disk\x1b[2J\n')         // 'disk\\x1b[2J\\x0a'
 */
export function printableText(text: string): string {
  return text.replace(CONTROLS, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x100 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`
  })
}

/** Returns JSON that is safe to print on a terminal. It parses to the same value. */
export function printableJson(value: unknown, indent?: number): string {
  const json = JSON.stringify(value, undefined, indent)
  return json.replace(CONTROLS, (character) => {
    return character === '\n' ? character : `\\u${hex(character.charCodeAt(0), 4)}`
  })
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}
