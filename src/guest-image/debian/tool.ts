import { type ChildProcess, spawn } from 'node:child_process'
import { Readable, type Stream } from 'node:stream'
import { readLines } from '../../host/node/read-lines.ts'

/** Timeout for a tool to end after a request. */
const GRACE_MS = 2000
/** Most that is kept of what a tool says. */
const MAX_OUTPUT = 4 << 20

export interface ToolOptions {
  readonly signal: AbortSignal | undefined
  /** Working folder. */
  readonly folder?: string
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Lines of the tool's file descriptor 3. */
  readonly onStatus?: (line: string) => void
}

/** A tool that is missing, or ended with an error. */
export class ToolError extends Error {
  override readonly name = 'ToolError'

  /** @param missing whether it could not be started at all */
  constructor(
    readonly tool: string,
    readonly missing: boolean,
    message: string,
  ) {
    super(message)
  }
}

/**
 * Runs a program of this machine. Settles when it has ended, also where it is aborted: nothing of it is left then.
 * @returns what it wrote to standard output
 * @throws {ToolError}
 */
export async function runTool(tool: string, args: readonly string[], options: ToolOptions): Promise<string> {
  const { signal, folder, env, onStatus } = options
  signal?.throwIfAborted()
  const child = spawn(tool, args, {
    ...(folder !== undefined && { cwd: folder }),
    env: { ...process.env, LC_ALL: 'C', ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    // A group of its own, so that all its helpers can be ended, and a Ctrl-C does not reach it before us.
    detached: true,
  })
  const [, out, err, descriptor3] = child.stdio
  const stdout = collect(out)
  const stderr = collect(err)
  if (descriptor3 instanceof Readable) readLines(descriptor3, (line) => onStatus?.(line))
  const abort = (): void => endGroup(child)
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const status = await ended(child, tool)
    signal?.throwIfAborted()
    if (status !== 0) throw new ToolError(tool, false, `${tool} ended with ${status}: ${complaint(stderr.text)}`)
    return stdout.text
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

function ended(child: ChildProcess, tool: string): Promise<number | string> {
  return new Promise((resolve, reject) => {
    child.on('error', (error) => {
      const absent = 'code' in error && error.code === 'ENOENT'
      reject(
        new ToolError(
          tool,
          true,
          absent ? `${tool} is not on this machine` : `${tool} cannot be started (${error.message})`,
        ),
      )
    })
    child.on('close', (status, killedBy) => resolve(status ?? killedBy ?? 'no status'))
  })
}

function endGroup(child: ChildProcess): void {
  const { pid } = child
  if (pid === undefined) return
  const kill = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-pid, signal)
    } catch {
      // It ended by itself in the meantime.
    }
  }
  kill('SIGTERM')
  const late = setTimeout(() => kill('SIGKILL'), GRACE_MS)
  child.on('close', () => clearTimeout(late))
}

function collect(stream: Stream | undefined | null): { text: string } {
  const collected = { text: '' }
  if (stream instanceof Readable)
    stream
      .setEncoding('utf8')
      .on('data', (text: string) => {
        if (collected.text.length < MAX_OUTPUT) collected.text += text
      })
      .on('error', () => {})
  return collected
}

/** The line of a tool's error output that says what is wrong: the first with the kernel's reason, or else one that apt marks with E. */
function complaint(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const line =
    lines.find((candidate) => /no space left on device/i.test(candidate)) ??
    lines.find((candidate) => candidate.startsWith('E:')) ??
    lines.at(-1) ??
    'it did not say why'
  return line.replace(/^E: /, '').trim()
}
