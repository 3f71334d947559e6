import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { findQemuTools } from '../../src/engines/qemu/qemu.ts'
import { ffiMissing } from '../../src/host/linux/ffi.ts'

export const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

const tools = await findQemuTools()

/** Reason why no vhost-user disk can be read; undefined if one can. */
export const toolsMissing =
  ffiMissing() ??
  (tools ? undefined : 'there is no qemu-img that reads a vhost-user disk, which apt fetches: apt-get install apt')

/** Returns the tools of QEMU, which must not be missing. */
export function qemuTools(): NonNullable<typeof tools> {
  if (!tools) throw new Error('no QEMU tools')
  return tools
}

/** Creates a folder that is removed after the tests of the file. */
export function scratchFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'outboard-qemu-'))
  after(() => rmSync(folder, { recursive: true }))
  return folder
}

/** Device process that is ready. */
export interface RunningDevice {
  readonly child: ChildProcess
  /** Log lines so far. */
  readonly log: string[]
  /** @returns its exit code */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

/** Starts `outboard device ...`, and resolves when it is ready. @param environment added to that of this process */
export async function startDevice(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<RunningDevice> {
  const env = { ...process.env, ...environment }
  const child = spawn(process.execPath, [MAIN, 'device', ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] })
  const log: string[] = []
  const ended = once(child, 'exit')
  await new Promise<void>((resolve, reject) => {
    createInterface(child.stderr).on('line', (line) => {
      log.push(line)
      if (/\bready, on /.test(line)) resolve()
    })
    child.on('exit', () => reject(new Error(`it ended: ${log.join('\n')}`)))
  })
  return {
    child,
    log,
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      const [status] = await ended
      return status
    },
  }
}
