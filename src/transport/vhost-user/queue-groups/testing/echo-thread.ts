/** A queue group for tests: an echo device in a thread, which `refresh` kills where that is asked for. */
import { workerData } from 'node:worker_threads'
import { EchoDevice } from '../../../../virtio/testing/echo-device.ts'
import { runGroupThread } from '../group-thread.ts'

export interface EchoThreadData {
  readonly queueSizes: readonly number[]
  readonly refresh: 'says so' | 'fails' | 'kills'
}

const { queueSizes, refresh }: EchoThreadData = workerData

await runGroupThread(({ warn }) => ({
  device: new EchoDevice({ queueSizes }),
  refresh: () => {
    if (refresh === 'says so') warn('refreshed')
    else if (refresh === 'fails') throw new RangeError('no')
    else {
      setImmediate(() => {
        throw new Error('of a test')
      })
    }
  },
  close: () => warn('closed'),
}))
