import type { DiskFile } from '../backends/disk/reactor/disk-file.ts'
import { LogLevel } from '../log/device-log.ts'
import { JoinedLog } from '../transport/vhost-user/queue-groups/joined-log.ts'
import { ThreadGroup } from '../transport/vhost-user/queue-groups/thread-group.ts'
import type { BlockThreadData } from './block-thread.ts'
import type { DeviceHost, ServedGroups } from './device-kind.ts'

const THREAD = new URL('./block-thread.js', import.meta.url)

/** Serves a disk's queues in threads. The file is opened and locked once for all of them. */
export async function serveInThreads(
  file: DiskFile,
  workers: number,
  settings: BlockThreadData['settings'],
  { log, fail }: DeviceHost,
): Promise<ServedGroups> {
  const joined = new JoinedLog(workers)
  const data: BlockThreadData = { file: file.shared, settings }
  const starting = Array.from({ length: workers }, (_, worker) => {
    const logAs = (level: LogLevel) => (line: string) => {
      if (joined.isNew(worker, line)) log(level, line)
    }
    return ThreadGroup.start({
      file: THREAD,
      data,
      log: logAs(LogLevel.INFO),
      warn: logAs(LogLevel.WARNING),
      died: (error) => fail(new Error(`worker ${worker} failed: ${error.message}`)),
    })
  })
  const started = await Promise.allSettled(starting)
  const groups = started.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const close = async (): Promise<void> => {
    const ends = await Promise.allSettled(groups.map((group) => group.end()))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }
  for (const outcome of started) {
    if (outcome.status === 'fulfilled') continue
    await close()
    throw outcome.reason
  }
  const { name } = await groups[0].inspect()
  return {
    name,
    groups,
    refresh() {
      if (file.refreshSize()) void resized(groups)
    },
    close,
  }
}

/** The first group notifies the driver, which may then use the new size in any queue: the other groups must know it before. */
async function resized([first, ...others]: readonly ThreadGroup[]): Promise<void> {
  await Promise.all(others.map((group) => group.refresh()))
  await first.refresh()
}
