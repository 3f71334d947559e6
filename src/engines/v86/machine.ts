import { Worker } from 'node:worker_threads'
import { readLines } from '../../host/node/read-lines.ts'
import { isCoalesced } from '../../machine/coalesced-reports.ts'
import type { Machine } from '../../machine/machine.ts'
import { type EngineEvents, type MachineEngine, MachineProxy } from '../../machine/machine-proxy.ts'
import type { MachineCommand, Report } from '../../machine/messages.ts'
import type { V86MachineOptions } from './options.ts'

/** Creates a machine whose guest runs in v86, in a worker thread of its own. `start` starts it. */
export function createV86Machine(options: V86MachineOptions): Machine {
  return new MachineProxy(new WorkerEngine(options))
}

class WorkerEngine implements MachineEngine {
  readonly #options: V86MachineOptions
  #worker: Worker | undefined

  constructor(options: V86MachineOptions) {
    this.#options = options
  }

  start({ report, exited }: EngineEvents): void {
    // The emulator's output goes to the log, not to the standard output of this process.
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: {
        ...this.#options,
        devices: this.#options.devices?.map((one) => (one instanceof URL ? one.href : one)),
      },
      stdout: true,
      stderr: true,
    })
    this.#worker = worker
    for (const output of [worker.stdout, worker.stderr]) {
      readLines(output, (line) => report({ type: 'log', line: `v86: ${line}` }))
    }
    worker.on('message', (message: Report) => {
      report(message)
      if (isCoalesced(message)) this.send({ type: 'report-received' })
    })
    worker.on('error', (error) => exited(`the engine failed: ${error.message}`))
    worker.on('exit', () => exited('the engine exited'))
  }

  send(command: MachineCommand): void {
    this.#worker?.postMessage(command)
  }

  async terminate(): Promise<void> {
    await this.#worker?.terminate()
  }
}
