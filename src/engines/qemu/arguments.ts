import { DeviceId } from '../../virtio/device-id.ts'
import { type DeviceTransport, QemuDeviceDriver, VFIO_USER } from './qemu.ts'

/** Device as QEMU attaches it. */
export interface AttachedDevice {
  /** Unique name, also in QEMU. */
  readonly id: string
  readonly kind: 'block' | 'console' | 'entropy' | 'gpu' | 'input' | 'net'
  readonly transport: DeviceTransport
  readonly socket: string
  /** MAC address of a network device, which the guest receives from QEMU. */
  readonly mac?: string
}

/** Firmware to start with; its console is the serial port. */
export interface Firmware {
  /** File with code and variables. @default QEMU's SeaBIOS */
  readonly file?: string
}

export interface QemuArgumentsOptions {
  readonly accelerator: 'kvm' | 'tcg'
  readonly memoryMiB: number
  /** Kernel to start. @default the firmware boots from the first disk, or else from the network */
  readonly boot?: { readonly kernel: string; readonly initrd?: string; readonly commandLine: string }
  /** @default QEMU's SeaBIOS without output on the serial port */
  readonly firmware?: Firmware
  readonly devices: readonly AttachedDevice[]
}

/** Parameters of QEMU's generic device: virtio id, queues, their size, and bytes of configuration space. */
const GENERIC = {
  console: { id: DeviceId.CONSOLE, queues: 10, queueSize: 64, config: 12 },
  gpu: { id: DeviceId.GPU, queues: 2, queueSize: 64, config: 20 },
} as const

/**
 * Returns QEMU's arguments for a machine whose only own device is a serial port. The guest's memory is a memfd that the
 * device processes map. The serial port is QEMU's standard output.
 */
export function qemuArguments(options: QemuArgumentsOptions): string[] {
  const { accelerator, memoryMiB, boot, firmware, devices } = options
  const bootable = boot
    ? []
    : ['block' as const, 'net' as const].map((kind) => devices.find((one) => one.kind === kind))
  return [
    ...['-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : 'max'],
    // Without graphics, SeaBIOS and the programs that it boots use the serial port as their console.
    ...['-machine', `q35,memory-backend=memory${firmware ? ',graphics=off' : ''}`, '-m', `${memoryMiB}`],
    ...(firmware?.file === undefined ? [] : ['-bios', firmware.file]),
    ...['-object', `memory-backend-memfd,id=memory,size=${memoryMiB}M,share=on`],
    ...['-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio', '-run-with', 'exit-with-parent=on'],
    ...(boot
      ? ['-kernel', boot.kernel, ...(boot.initrd ? ['-initrd', boot.initrd] : []), '-append', boot.commandLine]
      : []),
    ...devices.flatMap((device) =>
      device.transport === 'vfio-user'
        ? vfioUserArguments(device.socket, { id: device.id, ...bootIndex(bootable.indexOf(device)) })
        : backEndArguments(device, bootIndex(bootable.indexOf(device))),
    ),
  ]
}

/** Arguments for a vfio-user device at a socket. QEMU accepts the socket's address only as JSON. */
export function vfioUserArguments(socket: string, properties: { id?: string; bootindex?: number } = {}): string[] {
  return ['-device', JSON.stringify({ driver: VFIO_USER, ...properties, socket: { type: 'unix', path: socket } })]
}

function bootIndex(index: number): { bootindex?: number } {
  return index < 0 ? {} : { bootindex: index }
}

function backEndArguments(device: AttachedDevice, { bootindex }: { bootindex?: number }): string[] {
  const { id, kind, socket } = device
  return [
    ...['-chardev', `socket,id=${id},path=${escaped(socket)}`],
    ...(kind === 'net' ? ['-netdev', `vhost-user,id=${id},chardev=${id}`] : []),
    ...['-device', `${deviceArgument(device)}${bootindex === undefined ? '' : `,bootindex=${bootindex}`}`],
  ]
}

/** Firmware drives a transitional function as virtio 0.9.5, even if the firmware supports virtio 1. */
const MODERN = 'disable-legacy=on'

function deviceArgument({ id, kind, mac }: AttachedDevice): string {
  switch (kind) {
    case 'block':
      return `${QemuDeviceDriver.BLOCK},chardev=${id},${MODERN}`
    case 'entropy':
      return `${QemuDeviceDriver.ENTROPY},chardev=${id}`
    case 'input':
      return `${QemuDeviceDriver.INPUT},chardev=${id}`
    case 'net':
      // Without QEMU's ROM for network boot.
      return `${QemuDeviceDriver.NET},netdev=${id},${MODERN},romfile=${mac === undefined ? '' : `,mac=${mac}`}`
    case 'console':
    case 'gpu': {
      const { id: virtioId, queues, queueSize, config } = GENERIC[kind]
      const sizes = `num_vqs=${queues},vq_size=${queueSize},config_size=${config}`
      return `${QemuDeviceDriver.ANY},chardev=${id},virtio-id=${virtioId},${sizes}`
    }
  }
}

/** Doubles commas: a single one ends a value. */
function escaped(value: string): string {
  return value.replaceAll(',', ',,')
}
