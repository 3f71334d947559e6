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
  outboard device gpu --socket-path=gpu.sock --export=frames.sock ...   a guest's GPU that gives out its buffers
  outboard frames frames.sock                                       what there is, and how it is had
  outboard frames frames.sock dump --output screen.png              the first scanout that is on
  outboard frames frames.sock dump --output buffer.png --buffer 3   a buffer by its number in the list
  outboard frames frames.sock measure --seconds 10 --json
  outboard frames frames.sock watch

Only the user who started the device, root, and users it lists may connect. Nothing is copied on the way: bytes are read
where the guest drew them. "dump" needs to read them: of buffers that are no dma-bufs the device has to give its memory files
(--export-memory).

Exit codes: 0; 2 wrong arguments, or no such socket or picture; 125 the device refused or went away; 130 and 143 interrupted
before there was a result.`

const KINDS = ['list', 'dump', 'measure', 'watch'] as const
type Kind = (typeof KINDS)[number]

/** Does one of the kinds, with a client that is closed afterwards, and when it is interrupted. */
type Action = (client: FrameClient, options: FramesOptions, interrupted: AbortSignal) => Promise<void>

/** Each is loaded when it is wanted. */
const ACTIONS: Readonly<Record<Kind, () => Promise<Action>>> = {
  list: async () => (await import('./list.ts')).listFrames,
  dump: async () => (await import('./dump.ts')).dumpFrame,
  measure: async () => (await import('./measure.ts')).measureFrames,
  watch: async () => (await import('./watch.ts')).watchFrames,
}

/** Which options are for which kinds. */
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
    .argument('<path>', 'the socket that `outboard device gpu --export` listens on')
    .addArgument(new Argument('[what]', 'what to do with them').choices(KINDS).default('list'))
    .option('--json', 'list, measure, watch: for scripts')
    .option('--output <file>', 'dump: the PNG to write')
    .option('--scanout <number>', 'dump: this screen, rather than the first that is on', wholeNumber(0, 15))
    .option('--buffer <number>', 'dump: this buffer', wholeNumber(1, 2 ** 50))
    .option('--seconds <number>', 'measure: for so long (default: 5)', wholeNumber(1, 3600))
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
    // What was begun is finished: a client that is closed sees the end of its frames.
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

/** @throws {UsageError} where there is no such socket */
async function connect(path: string, buffers: boolean): Promise<FrameClient> {
  const missing = ffiMissing()
  if (missing !== undefined) throw new UsageError(`buffers of other processes cannot be had: ${missing}`)
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
