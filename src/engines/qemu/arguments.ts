import { DeviceId } from '../../virtio/device-id.ts'
import { type DeviceTransport, QemuDeviceDriver, VFIO_USER } from './qemu.ts'

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

/** What the machine starts with, its console on the serial port. */
export interface Firmware {
  /** An image of code and variables. @default QEMU's SeaBIOS */
  readonly file?: string
}

export interface QemuArgumentsOptions {
  readonly accelerator: 'kvm' | 'tcg'
  readonly memoryMiB: number
  /** A kernel to start with; without one the firmware boots from the first disk, or else from the network. */
  readonly boot?: { readonly kernel: string; readonly initrd?: string; readonly commandLine: string }
  /** @default QEMU's SeaBIOS, which shows nothing on the serial port */
  readonly firmware?: Firmware
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
export function qemuArguments(options: QemuArgumentsOptions): string[] {
  const { accelerator, memoryMiB, boot, firmware, devices } = options
  const bootable = boot
    ? []
    : ['block' as const, 'net' as const].map((kind) => devices.find((one) => one.kind === kind))
  return [
    ...['-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : 'max'],
    // Without graphics of QEMU's own, SeaBIOS and what it boots have their console on the serial port.
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

/** For what is served at a socket over vfio-user. Only as JSON QEMU takes the address of a socket. */
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

/** Firmware drives a transitional function as virtio 0.9.5, even if it knows virtio 1. */
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
      // Without the ROM of QEMU's that looks for something to boot on the network.
      return `${QemuDeviceDriver.NET},netdev=${id},${MODERN},romfile=${mac === undefined ? '' : `,mac=${mac}`}`
    case 'console':
    case 'gpu': {
      const { id: virtioId, queues, queueSize, config } = GENERIC[kind]
      const sizes = `num_vqs=${queues},vq_size=${queueSize},config_size=${config}`
      return `${QemuDeviceDriver.ANY},chardev=${id},virtio-id=${virtioId},${sizes}`
    }
  }
}

/** A comma ends a value, unless it is doubled. */
function escaped(value: string): string {
  return value.replaceAll(',', ',,')
}
