/** Control characters, and those that change the direction or the line of what follows. A tab stays. */
const CONTROLS = /(?!\t)[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/**
 * Text from a guest or a peer as one line that a terminal shows and does not obey: control characters become escapes.
 *
 *     printableText('disk\x1b[2J\n')         // 'disk\\x1b[2J\\x0a'
 */
export function printableText(text: string): string {
  return text.replace(CONTROLS, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x100 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`
  })
}

/** A value as JSON that a terminal shows and does not obey. Parsed again it is the same value. */
export function printableJson(value: unknown, indent?: number): string {
  const json = JSON.stringify(value, undefined, indent)
  return json.replace(CONTROLS, (character) => {
    return character === '\n' ? character : `\\u${hex(character.charCodeAt(0), 4)}`
  })
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}
