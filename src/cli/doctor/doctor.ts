import { Command } from 'commander'
import { addPlugins } from '../../catalogue/index.ts'
import { printableJson, printableText } from '../../log/printable-text.ts'
import { ExitCode } from '../exit-code.ts'
import { type Check, examineMachine, Level } from './checks.ts'

const MARKS = { [Level.OK]: 'ok', [Level.LIMITED]: '-', [Level.MISSING]: 'NO' } as const

const EXPLANATION = `
Marks: "ok" is there; "-" is not, and is done without, or fetched when needed; "NO" has to be there.
Exit code: 0, or ${ExitCode.FAILURE} where something has to be there and is not. Nothing is fetched or changed.`

/** @param plugins URLs of modules with more kinds of devices */
export async function doctorCommand(plugins: readonly string[]): Promise<Command> {
  await addPlugins(plugins)
  return new Command('doctor')
    .description('what this machine can do, and what to install')
    .exitOverride()
    .option('--json', 'for scripts: an array of findings, each with id, level, says, remedy, transports')
    .addHelpText('after', EXPLANATION)
    .action(async ({ json }: { json?: boolean }) => {
      const findings = await examineMachine()
      process.stdout.write(json ? `${printableJson(findings, 2)}\n` : findings.map(describe).join(''))
      process.exitCode = findings.some(({ level }) => level === Level.MISSING) ? ExitCode.FAILURE : ExitCode.OK
    })
}

/** One line, and under it what to do and which transports there are. */
export function describe({ level, summary, remedy, transports }: Check): string {
  const lines = [`${MARKS[level].padStart(4)}  ${printableText(summary)}`]
  if (remedy !== undefined) lines.push(`      fix: ${printableText(remedy)}`)
  for (const [name, there] of Object.entries(transports ?? {})) lines.push(`        ${there ? '+' : '-'} ${name}`)
  return `${lines.join('\n')}\n`
}
