import { Command, CommanderError, Option } from 'commander'
import type { DeviceKind } from '../../catalogue/device-kind.ts'
import { addPlugins, kindNames, loadKind, loadKinds } from '../../catalogue/index.ts'
import { type DeviceOption, optionName } from '../../catalogue/options.ts'
import { type ServeOptions, serveDevice } from '../../device-process/serve.ts'
import { DEVICE_TRANSPORTS } from '../../device-process/socket.ts'
import { LOG_FORMATS } from '../../log/device-log.ts'
import { invalidIfUsage, wholeNumber } from '../arguments.ts'
import { writeDiagnostic } from '../diagnostics.ts'
import { ExitCode, exitCodeOf } from '../exit-code.ts'

const EXPLANATION = `
Each command is a process that serves one device to a virtual machine monitor, over vhost-user or as a PCI device over
vfio-user. docs/vhost-user.md and docs/vfio-user.md describe what is served; docs/qemu.md has whole command lines for QEMU,
libvirt, crosvm and Cloud Hypervisor.
The socket is given with --socket-path or --fd, or by systemd. A listening socket serves one front-end after another; a
connected one ends with its front-end. SIGTERM ends the process when nothing is in flight, with exit code 0.`

/**
 * @param name kind of device of the command line, if it is known: only this kind is loaded
 * @param plugins URLs of modules with more kinds
 */
export async function deviceCommand(name: string | undefined, plugins: readonly string[]): Promise<Command> {
  await addPlugins(plugins)
  const command = new Command('device')
    .description('serve one device to a virtual machine monitor, over vhost-user or vfio-user')
    .exitOverride()
    .option(
      '--list',
      'print the kinds of devices, one a line: name, type for management software, summary, separated by tabs',
    )
    .addHelpText('after', EXPLANATION)
    .allowExcessArguments()
    .action(async ({ list }: { list?: boolean }) => {
      const [unknown] = command.args
      if (unknown !== undefined) command.error(`error: unknown command '${unknown}'`)
      if (!list) command.help({ error: true })
      const lines = (await loadKinds()).map((kind) => `${kind.name}\t${kind.vhostUser.type}\t${kind.summary}\n`)
      process.stdout.write(lines.join(''))
    })
  const names = kindNames()
  const wanted = name !== undefined && names.includes(name) ? [name] : names
  for (const one of wanted) command.addCommand(kindCommand(await loadKind(one)))
  return command
}

function kindCommand(kind: DeviceKind): Command {
  const command = new Command(kind.name)
    .description(kind.summary)
    .exitOverride()
    .option('--socket-path <path>', 'listen on a Unix socket')
    .option('--fd <number>', 'an inherited socket, listening or connected', wholeNumber(0, 1 << 20))
  for (const [name, option] of Object.entries(kind.options)) command.addOption(commandOption(name, option))
  command
    .addOption(
      new Option('--transport <protocol>', 'protocol of the monitor').choices(DEVICE_TRANSPORTS).default('vhost-user'),
    )
    .addOption(
      new Option('--log-format <format>', 'lines on standard error: text, or one JSON object each')
        .choices(LOG_FORMATS)
        .default('text'),
    )
    .addOption(new Option('--print-capabilities', 'print a description in JSON, for management software'))
  if (kind.examples !== undefined) command.addHelpText('after', `\nExamples:\n${kind.examples}`)
  // At once, whatever other options are given. @vhost-user Backend program conventions
  command.on('option:print-capabilities', () => {
    const { type, features = [] } = kind.vhostUser
    process.stdout.write(`${JSON.stringify({ type, features }, undefined, 2)}\n`)
    throw new CommanderError(ExitCode.OK, 'outboard.printed', '')
  })
  return command.action(async (options: Record<string, unknown> & ServeOptions) => {
    const values = Object.entries(kind.options).map(([name, { absent }]) => [name, options[name] ?? absent] as const)
    const { error } = await serveDevice(kind, Object.fromEntries(values), options, writeDiagnostic)
    process.exitCode = error === undefined ? ExitCode.OK : exitCodeOf(error)
  })
}

function commandOption(name: string, option: DeviceOption<unknown>): Option {
  const { value, valueOptional, summary, choices, absent, negated } = option
  const placeholder = value === undefined ? '' : valueOptional ? ` [${value}]` : ` <${value}>`
  const result = new Option(`--${optionName(name, option)}${placeholder}`, summary)
  if (negated) return result
  if (typeof absent === 'number' || typeof absent === 'string') result.default(absent)
  if (choices) return result.choices(choices)
  if (value === undefined) return result
  return result.argParser((text, before) => invalidIfUsage(() => option.parse(text, before ?? absent)))
}
