#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { isUsageError } from '../services/usage-error.ts'
import { addWanted, type CommandTable } from './command-table.ts'
import { diagnosticLine } from './diagnostics.ts'
import { ExitCode, exitCodeOfLostOutput } from './exit-code.ts'
import { leadingPlugins } from './plugins.ts'

const { version, description } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))

const { plugins, rest } = leadingPlugins(process.argv.slice(2))
const [wanted, kind] = rest

/** Each command is loaded only if it is used: a device process needs no emulator, and must be ready soon. */
const COMMANDS: CommandTable = {
  run: async () => (await import('./run/run.ts')).runCommand(plugins),
  device: async () => (await import('./device/device.ts')).deviceCommand(kind, plugins),
  frames: async () => (await import('./frames/frames.ts')).framesCommand(),
  doctor: async () => (await import('./doctor/doctor.ts')).doctorCommand(plugins),
}

const program = new Command('outboard')
  .description(description)
  .version(version)
  .option('--plugin <file>', 'a module with one more kind of device; may be repeated, before the command')
  .exitOverride()
  .configureHelp({ showGlobalOptions: false })

/** Every write to a full disk fails; one line says so. */
let outputLost = false

// Diagnostics that cannot be written change nothing.
process.stderr.on('error', () => {})
process.stdout.on('error', (error) => {
  const code = exitCodeOfLostOutput(error)
  process.exitCode = code
  // A reader that is gone needs no message.
  if (code === ExitCode.FAILURE && !outputLost)
    diagnosticLine(`outboard: cannot write to standard output: ${error.message}`)
  outputLost = true
})

try {
  await addWanted(program, COMMANDS, wanted)
  await program.parseAsync()
} catch (error) {
  if (isUsageError(error)) {
    diagnosticLine(`outboard: ${error.message}`)
    process.exit(ExitCode.USAGE)
  }
  if (!(error instanceof CommanderError)) throw error
  // Help and version end with 0; commander has printed what was wrong with anything else.
  process.exitCode = error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE
}
