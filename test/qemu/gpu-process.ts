import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { GuestBuffersInspection } from '../../src/backends/buffers/guest-buffers.ts'
import type { GpuInspection } from '../../src/devices/virtio/gpu/gpu.ts'
import type { Pixels } from '../../src/machine/machine.ts'
import type { MachineCommand, Report } from '../../src/machine/messages.ts'
import { MAIN } from './device-program.ts'

/** GPU process of a machine, which answers requests of the page. */
export interface GpuProcess {
  /** Socket for QEMU. */
  readonly socket: string
  /** Export socket. */
  readonly exported: string
  pixels(): Promise<Pixels>
  inspect(): Promise<GpuInspection & { readonly buffers: GuestBuffersInspection }>
  stop(): Promise<void>
}

/** Starts a GPU process over vfio-user with an export socket, and resolves when it is ready. */
export async function startGpu(socket: string, options: readonly string[] = []): Promise<GpuProcess> {
  const exported = `${socket}.export`
  const child = spawn(
    process.execPath,
    [
      ...[MAIN, 'device', 'gpu', '--transport=vfio-user', `--socket-path=${socket}`],
      ...[`--export=${exported}`, '--export-memory', ...options],
    ],
    { stdio: ['ignore', 'inherit', 'pipe', 'ipc'], serialization: 'advanced' },
  )
  const { stderr } = child
  assert.ok(stderr)
  const ended = once(child, 'exit')
  const gone = ended.then(([status, signal]) => {
    throw new Error(`the device ended with ${status ?? signal}`)
  })
  gone.catch(() => {})
  for (;;) {
    const [text] = await Promise.race([once(stderr, 'data'), gone])
    if (/\bready, on /.test(String(text))) break
  }
  stderr.resume()
  const ask = async <T extends Report['type']>(
    command: MachineCommand,
    type: T,
  ): Promise<Extract<Report, { type: T }>> => {
    const answered = new Promise<Extract<Report, { type: T }>>((resolve) => {
      const take = (report: Report): void => {
        if (report.type !== type) return
        child.off('message', take)
        resolve(report as Extract<Report, { type: T }>)
      }
      child.on('message', take)
    })
    child.send(command)
    return await Promise.race([answered, gone])
  }
  return {
    socket,
    exported,
    async pixels() {
      const { pixels } = await ask({ type: 'read-pixels', id: 1, scanout: 0, rect: undefined }, 'pixels')
      assert.ok(pixels)
      return pixels
    },
    async inspect() {
      const { inspection } = await ask({ type: 'inspect', id: 1 }, 'inspection')
      return inspection.devices[0].state as GpuInspection & { readonly buffers: GuestBuffersInspection }
    },
    async stop() {
      child.kill()
      await ended
    },
  }
}
