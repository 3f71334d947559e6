import { DeviceId } from '../../virtio/device-id.ts'
import { type DeviceTransport, Transport, VFIO_USER } from './qemu.ts'

/** What a device is to QEMU. */
export interface AttachedDevice {
  /** Its name, in QEMU too. */
  readonly id: string
  readonly kind: 'block' | 'console' | 'entropy' | 'gpu' | 'input' | 'net'
  readonly transport: DeviceTransport
  readonly socket: string
  /** Of a network card: over vhost-user QEMU tells the guest. */
  readonly mac?: string
}

export interface QemuArgumentsOptions {
  readonly accelerator: 'kvm' | 'tcg'
  readonly memoryMiB: number
  /** A kernel to start with; without one the firmware boots from the first disk. */
  readonly boot?: { readonly kernel: string; readonly initrd?: string; readonly commandLine: string }
  readonly devices: readonly AttachedDevice[]
}

/** What QEMU needs to know of a device it has no name for: queues, their size, bytes of its configuration space. */
const GENERIC = {
  console: { id: DeviceId.CONSOLE, queues: 10, queueSize: 64, config: 12 },
  gpu: { id: DeviceId.GPU, queues: 2, queueSize: 64, config: 20 },
} as const

/**
 * QEMU's arguments for a machine with no device of its own but a serial port. The guest's memory is a memfd that the
 * device processes map; the serial port is QEMU's standard output.
 */
export function qemuArguments({ accelerator, memoryMiB, boot, devices }: QemuArgumentsOptions): string[] {
  const bootDisk = boot ? undefined : devices.find(({ kind }) => kind === 'block')
  return [
    ...['-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : 'max'],
    ...['-machine', 'q35,memory-backend=memory', '-m', `${memoryMiB}`],
    ...['-object', `memory-backend-memfd,id=memory,size=${memoryMiB}M,share=on`],
    ...['-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio', '-run-with', 'exit-with-parent=on'],
    ...(boot
      ? ['-kernel', boot.kernel, ...(boot.initrd ? ['-initrd', boot.initrd] : []), '-append', boot.commandLine]
      : []),
    ...devices.flatMap((device) =>
      device.transport === 'vfio-user'
        ? vfioUserArguments(device.socket, { id: device.id, ...(device === bootDisk && { bootindex: 0 }) })
        : backEndArguments(device, device === bootDisk),
    ),
  ]
}

/** For what is served at a socket over vfio-user. Only as JSON QEMU takes the address of a socket. */
export function vfioUserArguments(socket: string, properties: { id?: string; bootindex?: number } = {}): string[] {
  return ['-device', JSON.stringify({ driver: VFIO_USER, ...properties, socket: { type: 'unix', path: socket } })]
}

function backEndArguments(device: AttachedDevice, boots: boolean): string[] {
  const { id, kind, socket } = device
  return [
    ...['-chardev', `socket,id=${id},path=${escaped(socket)}`],
    ...(kind === 'net' ? ['-netdev', `vhost-user,id=${id},chardev=${id}`] : []),
    ...['-device', `${deviceArgument(device)}${boots ? ',bootindex=0' : ''}`],
  ]
}

function deviceArgument({ id, kind, mac }: AttachedDevice): string {
  switch (kind) {
    case 'block':
      return `${Transport.BLOCK},chardev=${id}`
    case 'entropy':
      return `${Transport.ENTROPY},chardev=${id}`
    case 'input':
      return `${Transport.INPUT},chardev=${id}`
    case 'net':
      // Without the ROM of QEMU's that looks for something to boot on the network.
      return `${Transport.NET},netdev=${id},romfile=${mac === undefined ? '' : `,mac=${mac}`}`
    case 'console':
    case 'gpu': {
      const { id: virtioId, queues, queueSize, config } = GENERIC[kind]
      const sizes = `num_vqs=${queues},vq_size=${queueSize},config_size=${config}`
      return `${Transport.ANY},chardev=${id},virtio-id=${virtioId},${sizes}`
    }
  }
}

/** A comma ends a value, unless it is doubled. */
function escaped(value: string): string {
  return value.replaceAll(',', ',,')
}
