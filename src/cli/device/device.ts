import { Command, CommanderError, Option } from 'commander'
import { addWanted, type CommandTable } from '../command-table.ts'
import { ExitCode } from '../exit-code.ts'
import type { BackEnd } from './back-end.ts'
import { logFormatOption } from './log.ts'
import { type ServeOptions, serveBackEnd } from './serve.ts'
import { socketOptions, transportOption } from './socket.ts'

const EXPLANATION = `
Each is a process that serves one device to a virtual machine monitor, over vhost-user or as a whole PCI device over
vfio-user; docs/vhost-user.md and docs/vfio-user.md tell what is served, and docs/qemu.md shows
whole command lines for QEMU, libvirt, crosvm and Cloud Hypervisor.
Give it a socket with --socket-path or --fd, or let systemd: a listening socket serves one front-end after another, a
connected one ends with its front-end. SIGTERM ends it when what is in flight is done, with exit code 0.`

/** Every kind of device process. Adding one is a line here; each is loaded when it is wanted, to be ready soon. */
const KINDS: CommandTable = {
  block: async () => backEndCommand((await import('./block.ts')).blockBackEnd),
  console: async () => backEndCommand((await import('./console.ts')).consoleBackEnd),
  entropy: async () => backEndCommand((await import('./entropy.ts')).entropyBackEnd),
  gpu: async () => backEndCommand((await import('./gpu.ts')).gpuBackEnd),
  input: async () => backEndCommand((await import('./input.ts')).inputBackEnd),
  net: async () => backEndCommand((await import('./net.ts')).netBackEnd),
}

/** @param kind the one that is wanted, where that is known */
export async function deviceCommand(kind: string | undefined): Promise<Command> {
  const command = new Command('device')
    .description('serve one device to a virtual machine monitor, over vhost-user or vfio-user')
    .exitOverride()
    .addHelpText('after', EXPLANATION)
  return await addWanted(command, KINDS, kind)
}

function backEndCommand<Options>(backEnd: BackEnd<Options>): Command {
  const command = new Command(backEnd.name).description(backEnd.summary).exitOverride()
  for (const option of [...socketOptions, ...backEnd.options]) command.addOption(option)
  command.addOption(transportOption).addOption(logFormatOption())
  if (backEnd.examples !== undefined) command.addHelpText('after', `\nExamples:\n${backEnd.examples}`)
  command.addOption(new Option('--print-capabilities', 'print what it can do as JSON, for management software'))
  // At once, whatever else is asked for. @vhost-user Backend program conventions
  command.on('option:print-capabilities', () => {
    const { type, features } = backEnd
    process.stdout.write(`${JSON.stringify({ type, features }, undefined, 2)}\n`)
    throw new CommanderError(ExitCode.OK, 'outboard.printed', '')
  })
  return command.action(async (options: Options & ServeOptions) => {
    process.exitCode = await serveBackEnd(backEnd, options)
  })
}
