#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { ExitCode } from './exit-code.ts'

const { version, description } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))

/** Each is loaded when it is wanted: a device process needs no emulator, and is to be ready soon. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./run.ts')).runCommand(),
  device: async () => (await import('./device.ts')).deviceCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
}

const program = new Command('outboard')
  .description(description)
  .version(version)
  .exitOverride()
  .configureHelp({ showGlobalOptions: false })

const wanted = COMMANDS[process.argv[2]]
for (const load of wanted ? [wanted] : Object.values(COMMANDS)) program.addCommand(await load())

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  // Help and version end with 0; commander has printed what was wrong with anything else.
  process.exitCode = error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE
}
