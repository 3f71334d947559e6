import { Argument, Command } from 'commander'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { UsageError } from '../../services/usage-error.ts'
import { FrameClient } from '../../sharing/frames/frame-client.ts'
import { FrameError } from '../../sharing/frames/frame-error.ts'
import { wholeNumber } from '../arguments.ts'
import { diagnosticLine } from '../diagnostics.ts'
import { Ending } from '../ending.ts'
import { ExitCode, exitCodeOf } from '../exit-code.ts'
import type { FramesOptions } from './options.ts'

const EXAMPLES = `
Examples:
  outboard device gpu --socket-path=gpu.sock --export=frames.sock ...   a guest's GPU that exports its buffers
  outboard frames frames.sock                                       all screens and buffers, with their paths
  outboard frames frames.sock dump --output screen.png              the first scanout that is on
  outboard frames frames.sock dump --output buffer.png --buffer 3   a buffer by its number in the list
  outboard frames frames.sock measure --seconds 10 --json
  outboard frames frames.sock watch

The user who started the device, root, and the users of --export-user may connect. Nothing is copied on the way: bytes
are read where the guest drew them. "dump" must read the bytes: for buffers that are not dma-bufs the device must share
its memory files (--export-memory).

Exit codes: 0; 2 wrong arguments, or no such socket or picture; 125 the device refused or closed the connection; 130 and
143 interrupted before there was a result.`

const KINDS = ['list', 'dump', 'measure', 'watch'] as const
type Kind = (typeof KINDS)[number]

/** Executes one kind of command. The client is closed afterwards, and when the command is interrupted. */
type Action = (client: FrameClient, options: FramesOptions, interrupted: AbortSignal) => Promise<void>

/** Each is loaded when it is needed. */
const ACTIONS: Readonly<Record<Kind, () => Promise<Action>>> = {
  list: async () => (await import('./list.ts')).listFrames,
  dump: async () => (await import('./dump.ts')).dumpFrame,
  measure: async () => (await import('./measure.ts')).measureFrames,
  watch: async () => (await import('./watch.ts')).watchFrames,
}

/** Kinds of commands for which an option is valid. */
const BELONGS: Readonly<Record<keyof FramesOptions, readonly Kind[]>> = {
  json: ['list', 'measure', 'watch'],
  output: ['dump'],
  scanout: ['dump'],
  buffer: ['dump'],
  seconds: ['measure'],
}

export function framesCommand(): Command {
  return new Command('frames')
    .description("a guest's screens and buffers, from the export socket of its GPU: list, dump, measure, watch")
    .exitOverride()
    .argument('<path>', 'export socket of `outboard device gpu --export`')
    .addArgument(new Argument('[what]', 'kind of command').choices(KINDS).default('list'))
    .option('--json', 'list, measure, watch: output for scripts')
    .option('--output <file>', 'dump: PNG file to write')
    .option('--scanout <number>', 'dump: screen (default: the first that is on)', wholeNumber(0, 15))
    .option('--buffer <number>', 'dump: buffer', wholeNumber(1, 2 ** 50))
    .option('--seconds <number>', 'measure: duration in seconds (default: 5)', wholeNumber(1, 3600))
    .addHelpText('after', EXAMPLES)
    .action(async (path: string, what: Kind, options: FramesOptions) => {
      process.exitCode = await run(path, what, options)
    })
}

/** @returns the exit code */
async function run(path: string, what: Kind, options: FramesOptions): Promise<number> {
  const ending = new Ending()
  try {
    checkOptions(what, options)
    const work = perform(path, what, options, ending).then(() => ending.finish({ code: ExitCode.OK }))
    await Promise.race([work, ending.reached])
    const { code } = await ending.reached
    // The action completes: a client that is closed sees the end of its frames.
    await work
    return code
  } catch (error) {
    if (ending.interrupted) return (await ending.reached).code
    const reason = error instanceof Error ? error.message : String(error)
    diagnosticLine(`outboard frames: ${reason}`)
    return exitCodeOf(error)
  } finally {
    ending.release()
  }
}

async function perform(path: string, what: Kind, options: FramesOptions, ending: Ending): Promise<void> {
  const action = await ACTIONS[what]()
  const buffers = what === 'list' || what === 'watch' || options.buffer !== undefined
  const client = await connect(path, buffers)
  const close = () => client.close()
  ending.signal.addEventListener('abort', close)
  if (ending.signal.aborted) close()
  try {
    await action(client, options, ending.signal)
  } finally {
    close()
  }
}

/** @throws {UsageError} if there is no such socket */
async function connect(path: string, buffers: boolean): Promise<FrameClient> {
  const missing = ffiMissing()
  if (missing !== undefined) throw new UsageError(`buffers of other processes cannot be received: ${missing}`)
  try {
    return await FrameClient.connect(path, { buffers })
  } catch (error) {
    const isAboutPath = error instanceof FrameError && error.cause !== undefined
    throw isAboutPath || error instanceof RangeError ? new UsageError(error.message) : error
  }
}

function checkOptions(what: Kind, options: FramesOptions): void {
  for (const [name, kinds] of Object.entries(BELONGS)) {
    if (Object.hasOwn(options, name) && !kinds.includes(what)) {
      throw new UsageError(`--${name} is for ${kinds.join(' and ')}, not for ${what}`)
    }
  }
  if (what === 'dump' && options.output === undefined) throw new UsageError('name the PNG to write: --output FILE')
  if (options.scanout !== undefined && options.buffer !== undefined) {
    throw new UsageError('give either --scanout or --buffer, not both')
  }
}
