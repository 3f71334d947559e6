#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { deviceCommand } from './device.ts'
import { doctorCommand } from './doctor.ts'
import { ExitCode } from './exit-code.ts'
import { runCommand } from './run.ts'

const { version, description } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))

const program = new Command('outboard')
  .description(description)
  .version(version)
  .exitOverride()
  .configureHelp({ showGlobalOptions: false })
  .addCommand(runCommand())
  .addCommand(deviceCommand())
  .addCommand(doctorCommand())

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  // Help and version end with 0; commander has printed what was wrong with anything else.
  process.exitCode = error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE
}
