import type { DiskFile } from '../../backends/disk/reactor/disk-file.ts'
import { JoinedLog } from '../../transport/vhost-user/queue-groups/joined-log.ts'
import { ThreadGroup } from '../../transport/vhost-user/queue-groups/thread-group.ts'
import type { BackEndHost, ServedGroups } from './back-end.ts'
import type { BlockThreadData } from './block-thread.ts'
import { LogLevel } from './log.ts'

const THREAD = new URL('./block-thread.js', import.meta.url)

/** A disk whose queues are served by threads, on a file that is opened and locked once for all of them. */
export async function serveInThreads(
  file: DiskFile,
  workers: number,
  settings: BlockThreadData['settings'],
  { log, fail }: BackEndHost,
): Promise<ServedGroups> {
  const joined = new JoinedLog(workers)
  const data: BlockThreadData = { file: file.shared, settings }
  const starting = Array.from({ length: workers }, (_, worker) => {
    const tell = (level: LogLevel) => (line: string) => {
      if (joined.isNew(worker, line)) log(level, line)
    }
    return ThreadGroup.start({
      file: THREAD,
      data,
      log: tell(LogLevel.INFO),
      warn: tell(LogLevel.WARNING),
      died: (error) => fail(new Error(`worker ${worker} failed: ${error.message}`)),
    })
  })
  const started = await Promise.allSettled(starting)
  const groups = started.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const close = async (): Promise<void> => {
    const ends = await Promise.allSettled(groups.map((group) => group.end()))
    file.close()
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

/** The first group tells the driver, who may then use the new size in any queue: the others have to know it before. */
async function resized([first, ...others]: readonly ThreadGroup[]): Promise<void> {
  await Promise.all(others.map((group) => group.refresh()))
  await first.refresh()
}
