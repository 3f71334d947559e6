import type { Machine } from '../../machine/machine.ts'
import { diagnosticLine } from '../diagnostics.ts'
import type { Ending } from '../ending.ts'
import { ExitCode } from '../exit-code.ts'
import { written } from '../written.ts'

const CTRL_RIGHT_BRACKET = 0x1d
/** Bytes from a keyboard that wait for the guest before reading pauses: until then Ctrl-] is seen. */
const MAX_TYPED = 16 << 20

/**
 * Joins this process's standard input and output to the guest's console; on a terminal, Ctrl-] leaves. Neither is read or
 * written faster than the other side follows.
 */
export function attachTerminal(machine: Machine, ending: Ending): void {
  const { stdin, stdout } = process
  machine.listen({ terminal: (bytes) => written(stdout, bytes) })
  const mostWaiting = stdin.isTTY ? MAX_TYPED : 0
  let waiting = 0
  stdin.on('data', (bytes: Buffer) => {
    const leave = stdin.isTTY ? bytes.indexOf(CTRL_RIGHT_BRACKET) : -1
    const taken = machine.writeTerminal(leave < 0 ? bytes : bytes.subarray(0, leave))
    if (leave >= 0) ending.finish({ code: ExitCode.OK })
    if (!taken) return
    waiting += bytes.length
    if (waiting > mostWaiting) stdin.pause()
    void taken.then(() => {
      waiting -= bytes.length
      if (waiting <= mostWaiting) stdin.resume()
    })
  })
  stdin.on('error', (error) => diagnosticLine(`outboard: no more input: ${error.message}`))
  if (!stdin.isTTY) return
  stdin.setRawMode(true)
  ending.signal.addEventListener('abort', () => stdin.setRawMode(false))
  const resize = (): void => void machine.input({ type: 'resize-terminal', columns: stdout.columns, rows: stdout.rows })
  stdout.on('resize', resize)
  resize()
}
