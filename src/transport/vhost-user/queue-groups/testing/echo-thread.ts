/** Thread of a queue group for tests: an echo device. `refresh` logs, fails or kills the thread. */
import { workerData } from 'node:worker_threads'
import { EchoDevice } from '../../../../virtio/testing/echo-device.ts'
import { runGroupThread } from '../group-thread.ts'

export interface EchoThreadData {
  readonly queueSizes: readonly number[]
  readonly refresh: 'logs' | 'fails' | 'kills'
}

const { queueSizes, refresh }: EchoThreadData = workerData

await runGroupThread(({ warn }) => ({
  device: new EchoDevice({ queueSizes }),
  refresh: () => {
    if (refresh === 'logs') warn('refreshed')
    else if (refresh === 'fails') throw new RangeError('no')
    else {
      setImmediate(() => {
        throw new Error('killed by a test')
      })
    }
  },
  close: () => warn('closed'),
}))
