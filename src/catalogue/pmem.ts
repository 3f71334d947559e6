import { PmemFile } from '../backends/memory/pmem-file.ts'
import { PmemDevice } from '../devices/virtio/pmem/pmem.ts'
import { CONFIG_BYTES } from '../devices/virtio/pmem/protocol.ts'
import { LogLevel } from '../log/device-log.ts'
import { UsageError } from '../services/usage-error.ts'
import { DeviceId } from '../virtio/device-id.ts'
import { deviceKind } from './device-kind.ts'
import { text } from './options.ts'

export const pmemKind = deviceKind({
  name: 'pmem',
  id: DeviceId.PMEM,
  summary: 'a file as persistent memory, which the guest maps',
  options: { memPath: text('path', 'file of whole 2 MiB; the guest changes it') },
  examples: `\
  truncate -s 256M data.pmem
  outboard device pmem --socket-path=pmem.sock --mem-path=data.pmem
The guest needs a kernel newer than Linux 6.1, such as 6.12.`,
  open({ memPath }, { reactor, log }): PmemFile {
    if (memPath === undefined) throw new UsageError('name the file: --mem-path FILE')
    if (!reactor) throw new UsageError('persistent memory needs a device process: --engine qemu')
    return PmemFile.open(memPath, reactor, (line) => log(LogLevel.WARNING, line))
  },
  build: (file) => ({ device: new PmemDevice(file) }),
  close: (file) => file.close(),
  vhostUser: { type: 'pmem' },
  qemu: { generic: { queues: 1, queueSize: 64, configBytes: CONFIG_BYTES } },
  guestModules: ['virtio_pmem', 'nd_pmem'],
  guestArchitectures: ['amd64'],
})
