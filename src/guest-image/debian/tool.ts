import { type ChildProcess, spawn } from 'node:child_process'
import { Readable, type Stream } from 'node:stream'
import { readLines } from '../../host/node/read-lines.ts'

/** Time for a tool to exit after SIGTERM; then it is killed. */
const GRACE_MS = 2000
/** Maximum length of a tool's output; the rest is dropped. */
const MAX_OUTPUT = 4 << 20

export interface ToolOptions {
  readonly signal: AbortSignal | undefined
  /** Working folder. */
  readonly folder?: string
  /** Variables that are added to the environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Lines of the tool's file descriptor 3. */
  readonly onStatus?: (line: string) => void
}

/** A tool is missing, or failed. */
export class ToolError extends Error {
  override readonly name = 'ToolError'

  /** @param missing true if it could not be started */
  constructor(
    readonly tool: string,
    readonly missing: boolean,
    message: string,
  ) {
    super(message)
  }
}

/**
 * Runs an installed program. Settles when it exited, also if aborted: no process remains.
 * @returns its standard output
 * @throws {ToolError} if it cannot be started or fails
 */
export async function runTool(tool: string, args: readonly string[], options: ToolOptions): Promise<string> {
  const { signal, folder, env, onStatus } = options
  signal?.throwIfAborted()
  const child = spawn(tool, args, {
    ...(folder !== undefined && { cwd: folder }),
    env: { ...process.env, LC_ALL: 'C', ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    // A process group of its own: all its children can be killed, and Ctrl-C reaches only this process.
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
        new ToolError(tool, true, absent ? `${tool} is not installed` : `${tool} cannot be started (${error.message})`),
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
      // All processes of the group exited in the meantime.
    }
  }
  kill('SIGTERM')
  const timeout = setTimeout(() => kill('SIGKILL'), GRACE_MS)
  child.on('close', () => clearTimeout(timeout))
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

/**
 * Returns the relevant line of a tool's error output: the first one about a full disk, or else one that apt marks with
 * E.
 */
function complaint(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const line =
    lines.find((candidate) => /no space left on device/i.test(candidate)) ??
    lines.find((candidate) => candidate.startsWith('E:')) ??
    lines.at(-1) ??
    'no error output'
  return line.replace(/^E: /, '').trim()
}
