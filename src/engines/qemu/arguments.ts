import type { DeviceKind, QemuFrontEnd } from '../../catalogue/device-kind.ts'
import type { Settings } from '../../catalogue/options.ts'
import type { DeviceTransport } from '../../device-process/socket.ts'
import { frontEndDriver, VFIO_USER } from './front-ends.ts'

type GenericFrontEnd = Extract<QemuFrontEnd, { generic: unknown }>

/** Device process that QEMU connects to. */
export interface AttachedDevice {
  /** Name within the machine, in QEMU too. */
  readonly id: string
  readonly kind: Pick<DeviceKind, 'id' | 'qemu'>
  readonly transport: DeviceTransport
  readonly socket: string
  /** Settings of the device, some of which QEMU repeats to the guest. @default {} */
  readonly settings?: Settings
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

/**
 * Returns QEMU's arguments for a machine whose only own device is a serial port. The guest's memory is a memfd that the
 * device processes map. The serial port is QEMU's standard output.
 */
export function qemuArguments(options: QemuArgumentsOptions): string[] {
  const { accelerator, memoryMiB, boot, firmware, devices } = options
  const bootable = boot ? [] : bootOrder(devices)
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

/** First device of each kind that firmware boots from. */
function bootOrder(devices: readonly AttachedDevice[]): AttachedDevice[] {
  const orderOf = ({ kind }: AttachedDevice): number => kind.qemu.bootOrder ?? 0
  const candidates = devices.filter((device) => orderOf(device) > 0)
  const firsts = candidates.filter((device, i) => candidates.findIndex((one) => one.kind.id === device.kind.id) === i)
  return firsts.sort((one, other) => orderOf(one) - orderOf(other))
}

function backEndArguments(device: AttachedDevice, { bootindex }: { bootindex?: number }): string[] {
  const { id, kind, socket } = device
  return [
    ...['-chardev', `socket,id=${id},path=${escaped(socket)}`],
    ...(kind.qemu.netdev ? ['-netdev', `vhost-user,id=${id},chardev=${id}`] : []),
    ...['-device', `${deviceArgument(device)}${bootindex === undefined ? '' : `,bootindex=${bootindex}`}`],
  ]
}

function deviceArgument({ id, kind, settings = {} }: AttachedDevice): string {
  const { qemu } = kind
  const { properties = [], repeats = {} } = qemu
  const repeated = Object.entries(repeats)
    .filter(([option]) => typeof settings[option] === 'string')
    .map(([option, property]) => `${property}=${escaped(String(settings[option]))}`)
  return [
    frontEndDriver(qemu),
    `${qemu.netdev ? 'netdev' : 'chardev'}=${id}`,
    ...('generic' in qemu ? genericProperties(kind.id, qemu.generic) : []),
    ...properties,
    ...repeated,
  ].join()
}

function genericProperties(id: number, { queues, queueSize, configBytes }: GenericFrontEnd['generic']): string[] {
  return [`virtio-id=${id}`, `num_vqs=${queues}`, `vq_size=${queueSize}`, `config_size=${configBytes}`]
}

/** Doubles commas: a single one ends a value. */
function escaped(value: string): string {
  return value.replaceAll(',', ',,')
}
