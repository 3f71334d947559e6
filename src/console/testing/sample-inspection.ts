import type { Inspection, QueueInspection } from '../../machine/machine.ts'

const quietQueue: QueueInspection = {
  index: 0,
  size: 64,
  enabled: true,
  packed: false,
  available: 0,
  used: 0,
  inFlight: 0,
  popped: 0,
  pushed: 0,
  malformed: 0,
  lastFault: undefined,
  interrupts: 0,
  suppressed: 0,
  broken: undefined,
}

/** Inspection of a busy guest: a GPU without faults, and a block device with one. */
export const SAMPLE_INSPECTION: Inspection = {
  devices: [
    {
      name: 'gpu',
      id: 16,
      panel: 'gpu',
      status: ['ACKNOWLEDGE', 'DRIVER', 'FEATURES_OK', 'DRIVER_OK'],
      offered: ['VIRTIO_F_VERSION_1', 'VIRTIO_F_RING_PACKED', 'EDID', 'RESOURCE_BLOB'],
      negotiated: ['VIRTIO_F_VERSION_1', 'EDID', 'RESOURCE_BLOB'],
      queues: [
        { ...quietQueue, available: 1204, used: 1203, inFlight: 1, popped: 1204, pushed: 1203, interrupts: 871 },
        { ...quietQueue, index: 1, size: 16, available: 12, used: 12, popped: 12, pushed: 12, interrupts: 12 },
      ],
      state: {
        scanouts: [
          {
            preferred: { width: 1024, height: 768 },
            mode: { width: 1024, height: 768 },
            path: 'linear',
            reason: 'there is no /dev/udmabuf',
            flushes: 9812,
            lastDamage: { x: 0, y: 352, width: 1024, height: 16 },
            bytesTransferred: 0,
            bytesRead: 0,
            bytesCopied: 0,
          },
        ],
        resources: { count: 2, hostBytes: 0, maxHostBytes: 268_435_456 },
        commands: { RESOURCE_FLUSH: 9812, SET_SCANOUT_BLOB: 1, GET_EDID: 1 },
        errors: {},
        buffers: {
          buffers: [
            {
              name: 'resource 7',
              kind: 'linear',
              reason: 'there is no /dev/udmabuf',
              owner: 'guest',
              bytes: 3 << 20,
              picture: { width: 1024, height: 768, planes: 1 },
              holders: 1,
              removed: false,
            },
          ],
        },
        page: [{ scanout: 0, inPlace: true, reason: 'there is no /dev/udmabuf', frames: 9812, bytesRead: 643_039_232 }],
      },
    },
    {
      name: 'block',
      id: 2,
      status: ['ACKNOWLEDGE', 'DRIVER', 'FEATURES_OK', 'DRIVER_OK'],
      offered: ['VIRTIO_F_VERSION_1', 'VIRTIO_BLK_F_FLUSH', 'VIRTIO_BLK_F_DISCARD'],
      negotiated: ['VIRTIO_F_VERSION_1', 'VIRTIO_BLK_F_FLUSH', 'VIRTIO_BLK_F_DISCARD'],
      queues: [
        {
          ...quietQueue,
          size: 256,
          popped: 310_553,
          pushed: 310_553,
          malformed: 2,
          lastFault: 'descriptor 17 lies outside guest memory',
          suppressed: 40,
        },
      ],
      state: { capacity: 1_073_741_824n, readBytes: 71_203_840, file: 'data.img' },
    },
  ],
}
