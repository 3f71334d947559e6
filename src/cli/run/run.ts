import { Command, Option } from 'commander'
import { DISK_FORMATS } from '../../backends/disk/image-format.ts'
import { addPlugins, kindNames, loadKind } from '../../catalogue/index.ts'
import { parseSettings } from '../../catalogue/options.ts'
import { type ConsoleServer, serveConsole } from '../../console/server.ts'
import { DEVICE_TRANSPORTS } from '../../device-process/socket.ts'
import type { Machine } from '../../machine/machine.ts'
import { UsageError } from '../../services/usage-error.ts'
import { wholeNumber } from '../arguments.ts'
import { diagnosticLine } from '../diagnostics.ts'
import { type End, Ending } from '../ending.ts'
import { ExitCode, exitCodeOf } from '../exit-code.ts'
import { Progress } from '../progress.ts'
import { written } from '../written.ts'
import { disksUsable } from './boot-files.ts'
import { type CreatedMachine, createMachine } from './create-machine.ts'
import { parseDevice, parseDisk, parseMirror, parseNet, parseSeconds, type RunOptions } from './run-options.ts'
import { saveMachine } from './save-machine.ts'
import { saveScreenshot } from './screenshot.ts'
import { attachTerminal } from './terminal.ts'

/** Default port of the page. If it is taken, another free port is used. */
const DEFAULT_PORT = 8676

const EXAMPLES = `
Examples:
  outboard run                                       a guest with its screen in a browser tab
  outboard run --disk data.img --disk base.img,readonly
  outboard run --device input,kind=keyboard          with a second keyboard
  outboard run --display none                        the guest's console in this terminal (Ctrl-] leaves)
  outboard run --display none --exec 'uname -a'      one command, its output and its exit status
  outboard run --engine qemu                         the same in QEMU, with each device in its own process
  outboard run --engine qemu --disk debian.qcow2 --boot disk --net 'passt:-t 2222:22'
  outboard run --engine qemu --disk debian.qcow2 --boot disk --firmware uefi --display none
  outboard run --save guest.snapshot                 Ctrl-C saves the machine
  outboard run --restore guest.snapshot              and it continues where it was
  outboard run --display none --screenshot shot.png --exec 'cat /dev/urandom > /dev/fb0'

Exit codes: 0, or with --exec that of the command; 2 wrong arguments or files; 124 --timeout is over;
125 the guest or the engine failed; 130 and 143 interrupted; 141 standard output has no reader.
A first Ctrl-C stops the guest and flushes its disks, a second one stops at once.`

/** @param plugins URLs of modules with more kinds of devices */
export async function runCommand(plugins: readonly string[]): Promise<Command> {
  await addPlugins(plugins)
  return new Command('run')
    .description('start a guest on devices of this project')
    .exitOverride()
    .addOption(
      new Option('--engine <name>', 'program that executes the guest: the emulator v86 in this process, or QEMU')
        .choices(['v86', 'qemu'])
        .default('v86'),
    )
    .addOption(
      new Option(
        '--transport <protocol>',
        'protocol between QEMU and its devices; with vfio-user each device is a whole PCI function (default: vhost-user)',
      ).choices(DEVICE_TRANSPORTS),
    )
    .option('--memory <MiB>', 'memory of the guest (default: 256, or 512 in QEMU)', wholeNumber(64, 1 << 20))
    .option(
      '--disk <file[,readonly][,format=name][,logical-block-size=bytes]>',
      'disk image or block device, /dev/vda first; may be repeated. The format is raw, or follows from the name or from ' +
        `format= (${DISK_FORMATS.join(', ')}; other formats need QEMU). The block size is 512 or 4096 (default: 512)`,
      parseDisk,
      [],
    )
    .option(
      '--device <kind[,option=value]...>',
      `additional device: ${kindNames().join(', ')}, with the options of \`outboard device KIND\`; may be repeated`,
      parseDevice,
      [],
    )
    .addOption(
      new Option('--boot <what>', 'what to boot: a kernel, or in QEMU the first disk')
        .choices(['kernel', 'disk'])
        .default('kernel'),
    )
    .option(
      '--firmware <bios|uefi|file>',
      'in QEMU: firmware, with its console in the terminal: SeaBIOS, OVMF (fetched if it is not installed) or a file ' +
        '(default: SeaBIOS, without a console)',
    )
    .option(
      '--net <network>',
      'in QEMU: none, passt (the network of this machine, without root), passt:OPTIONS, or tap:NAME ' +
        '(default: passt, if it is installed)',
      parseNet,
    )
    .option(
      '--mirror <url>',
      'Debian mirror from which kernels, QEMU and OVMF are fetched (default: OUTBOARD_DEBIAN_MIRROR, or that of apt)',
      parseMirror,
    )
    .option('--kernel <file>', 'kernel (bzImage) in place of the Debian kernel')
    .option('--initrd <file>', 'initial ramdisk of the kernel')
    .option('--append <arguments>', 'additional kernel arguments')
    .addOption(
      new Option(
        '--display <where>',
        'screen: a page for the browser, or none (default: web; none with --exec)',
      ).choices(['web', 'none']),
    )
    .option(
      '--port <number>',
      `port of the page on 127.0.0.1 (default: ${DEFAULT_PORT}, or a free port)`,
      wholeNumber(0, 65535),
    )
    .option('--screenshot <file>', 'save the screen as PNG at the end')
    .option('--save <file>', 'save the machine at the end: at Ctrl-C, or when the command of --exec has ended')
    .option('--restore <file>', 'continue a saved machine; give its --disk and --device options again')
    .option('--changed-disks', 'with --restore: continue although a disk was changed since, which may damage it')
    .option('--exec <command>', 'run a shell command in the guest, then stop')
    .option('--timeout <seconds>', 'stop after this time, with exit code 124', parseSeconds)
    .addHelpText('after', EXAMPLES)
    .action(async (options: RunOptions) => {
      const progress = new Progress()
      const end = await run({ ...options, plugins }, progress)
      progress.clear()
      if (end.message) diagnosticLine(`outboard: ${end.message}`)
      process.exit(end.code)
    })
}

/** Runs a guest, from the first check to the last flush. Never rejects. */
async function run(options: RunOptions, progress: Progress): Promise<End> {
  const ending = new Ending(options.timeout)
  const started: { machine?: Machine; page?: ConsoleServer } = {}
  try {
    await Promise.race([start(options, progress, ending, started), ending.reached])
    const end = await ending.reached
    // After an interrupt there is no wait for a quiet screen.
    if (options.screenshot && started.machine && !ending.interrupted)
      await saveScreenshot(started.machine, options.screenshot)
    if (options.save !== undefined && started.machine) await saveMachine(started.machine, options.save)
    return end
  } catch (error) {
    return { code: exitCodeOf(error), message: reasonOf(error) }
  } finally {
    // The disks first: closing the page may take longer.
    await started.machine?.stop()
    await started.page?.close()
    ending.release()
    // Waits for the last output of the guest. A signal ends this wait, too.
    if (!ending.hurried) await written(process.stdout, '')
  }
}

async function start(
  options: RunOptions,
  progress: Progress,
  ending: Ending,
  started: { machine?: Machine; page?: ConsoleServer },
): Promise<void> {
  for (const { kind, settings } of options.device) parseSettings((await loadKind(kind)).options, settings)
  await disksUsable(options.disk, (line) => progress.line(line))
  const display = options.display ?? (options.exec === undefined ? 'web' : 'none')
  const created = await createMachine(options, ending.signal, progress)
  if (!created) return
  const machine = await startMachine(created, progress, ending, started)
  if (display === 'web') {
    const page = await servePage(machine, options.port)
    started.page = page
    progress.clear()
    process.stdout.write(`The guest's screen: ${page.url}\n`)
  }
  if (options.exec !== undefined) {
    const code = await machine.exec(options.exec, {
      stdout: (bytes) => {
        progress.clear()
        return written(process.stdout, bytes)
      },
      stderr: (bytes) => {
        progress.clear()
        return written(process.stderr, bytes)
      },
    })
    ending.finish({ code })
  } else if (display === 'none') {
    progress.clear()
    attachTerminal(machine, ending)
  }
}

/** Starts a machine, or the one that takes its place. */
async function startMachine(
  created: CreatedMachine,
  progress: Progress,
  ending: Ending,
  started: { machine?: Machine },
): Promise<Machine> {
  const { machine } = created
  started.machine = machine
  const stopListening = machine.listen({
    progress: (step) => progress.show(step),
    log: (line) => progress.line(line),
    stopped: ({ kind, message }) => {
      ending.finish(kind === 'power-off' ? { code: ExitCode.OK } : { code: ExitCode.FAILURE, message })
    },
  })
  if (created.saveBooted) {
    await machine.start()
    progress.show('booting the guest once; later runs start from there')
    try {
      await created.saveBooted()
    } catch (error) {
      // This machine is used, although its first output was not shown.
      progress.line(`later runs boot again: ${reasonOf(error)}`)
      return machine
    }
    stopListening()
    await machine.stop()
    return created.next ? await startMachine(await created.next(), progress, ending, started) : machine
  }
  try {
    await machine.start()
    return machine
  } catch (error) {
    if (!created.next) throw error
    progress.line(`the snapshot of the booted guest is made again: ${reasonOf(error)}`)
    return await startMachine(await created.next(), progress, ending, started)
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

async function servePage(machine: Machine, port: number | undefined): Promise<ConsoleServer> {
  try {
    return await serveConsole(machine, { port: port ?? DEFAULT_PORT })
  } catch (error) {
    const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
    if (!taken) throw error
    if (port !== undefined) throw new UsageError(`port ${port} is taken: choose another with --port`)
    return await serveConsole(machine, { port: 0 })
  }
}
