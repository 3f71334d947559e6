import type { Machine } from '../machine/machine.ts'
import { diagnosticLine } from './diagnostics.ts'
import type { Ending } from './ending.ts'
import { ExitCode } from './exit-code.ts'

const CTRL_RIGHT_BRACKET = 0x1d

/** Joins this process's standard input and output to the guest's console; on a terminal, Ctrl-] leaves. */
export function attachTerminal(machine: Machine, ending: Ending): void {
  const { stdin, stdout } = process
  machine.listen({ terminal: (bytes) => stdout.write(bytes) })
  stdin.on('data', (bytes: Buffer) => {
    const leave = stdin.isTTY ? bytes.indexOf(CTRL_RIGHT_BRACKET) : -1
    machine.writeTerminal(leave < 0 ? bytes : bytes.subarray(0, leave))
    if (leave >= 0) ending.finish({ code: ExitCode.OK })
  })
  stdin.on('error', (error) => diagnosticLine(`outboard: no more input: ${error.message}`))
  if (!stdin.isTTY) return
  stdin.setRawMode(true)
  ending.signal.addEventListener('abort', () => stdin.setRawMode(false))
  const resize = (): void => machine.resizeTerminal(stdout.columns, stdout.rows)
  stdout.on('resize', resize)
  resize()
}
