import type { Disk } from '../../../services/disk.ts'
import { SECTOR_BYTES } from '../../../services/disk.ts'
import { featureSet } from '../../../virtio/feature.ts'
import {
  BlkFeature,
  CONFIG_BLK_SIZE,
  CONFIG_BYTES,
  CONFIG_CAPACITY,
  CONFIG_CYLINDERS,
  CONFIG_DISCARD_SECTOR_ALIGNMENT,
  CONFIG_HEADS,
  CONFIG_MAX_DISCARD_SECTORS,
  CONFIG_MAX_DISCARD_SEG,
  CONFIG_MAX_WRITE_ZEROES_SECTORS,
  CONFIG_MAX_WRITE_ZEROES_SEG,
  CONFIG_MIN_IO_SIZE,
  CONFIG_NUM_QUEUES,
  CONFIG_PHYSICAL_BLOCK_EXP,
  CONFIG_SECTORS,
  CONFIG_SEG_MAX,
  CONFIG_WRITE_ZEROES_MAY_UNMAP,
  CONFIG_WRITEBACK,
} from './protocol.ts'
import { MAX_DISCARD_SECTORS, MAX_SEGMENTS, MAX_WRITE_ZEROES_SECTORS } from './segment-list.ts'

/** Physical block size in bytes: the page size of guest and host. @virtio 5.2.4 topology */
const PHYSICAL_BLOCK_BYTES = 4096

/** Conventional ATA geometry: heads, sectors per track, and the largest cylinder count. */
const HEADS = 16
const TRACK_SECTORS = 63
const MAX_CYLINDERS = 16383

/** Returns the features that a device with this disk offers. @virtio 5.2.3 */
export function blockFeatures(disk: Disk, queues: number): bigint {
  const { SEG_MAX, GEOMETRY, BLK_SIZE, FLUSH, TOPOLOGY, RO, CONFIG_WCE, MQ, DISCARD, WRITE_ZEROES } = BlkFeature
  let features = featureSet(SEG_MAX, GEOMETRY, BLK_SIZE, FLUSH, TOPOLOGY)
  features |= disk.readOnly ? featureSet(RO) : featureSet(CONFIG_WCE, WRITE_ZEROES)
  if (disk.canDiscard && !disk.readOnly) features |= featureSet(DISCARD)
  if (queues > 1) features |= featureSet(MQ)
  return features
}

/** Configuration values that do not come from the disk. `capacity` is in sectors. */
export interface BlockSettings {
  readonly queues: number
  readonly segMax: number
  readonly capacity: number
  readonly logicalBlockSize: number
  readonly writeback: boolean
}

/** Fills the whole configuration space. Fields of features that are not offered are 0. @virtio 5.2.4, 5.2.5.2 */
export function writeConfig(view: DataView, disk: Disk, settings: BlockSettings): void {
  for (let i = 0; i < CONFIG_BYTES; i++) view.setUint8(i, 0)
  const { capacity, logicalBlockSize } = settings
  view.setBigUint64(CONFIG_CAPACITY, BigInt(capacity), true)
  view.setUint32(CONFIG_SEG_MAX, settings.segMax, true)
  view.setUint16(CONFIG_CYLINDERS, Math.min(MAX_CYLINDERS, Math.floor(capacity / (HEADS * TRACK_SECTORS))), true)
  view.setUint8(CONFIG_HEADS, HEADS)
  view.setUint8(CONFIG_SECTORS, TRACK_SECTORS)
  view.setUint32(CONFIG_BLK_SIZE, logicalBlockSize, true)
  const exponent = Math.log2(PHYSICAL_BLOCK_BYTES / logicalBlockSize)
  view.setUint8(CONFIG_PHYSICAL_BLOCK_EXP, exponent)
  view.setUint16(CONFIG_MIN_IO_SIZE, 2 ** exponent, true)
  if (settings.queues > 1) view.setUint16(CONFIG_NUM_QUEUES, settings.queues, true)
  if (disk.readOnly) return
  view.setUint8(CONFIG_WRITEBACK, settings.writeback ? 1 : 0)
  view.setUint32(CONFIG_MAX_WRITE_ZEROES_SECTORS, MAX_WRITE_ZEROES_SECTORS, true)
  view.setUint32(CONFIG_MAX_WRITE_ZEROES_SEG, MAX_SEGMENTS, true)
  if (!disk.canDiscard) return
  view.setUint8(CONFIG_WRITE_ZEROES_MAY_UNMAP, 1)
  view.setUint32(CONFIG_MAX_DISCARD_SECTORS, MAX_DISCARD_SECTORS, true)
  view.setUint32(CONFIG_MAX_DISCARD_SEG, MAX_SEGMENTS, true)
  view.setUint32(CONFIG_DISCARD_SECTOR_ALIGNMENT, PHYSICAL_BLOCK_BYTES / SECTOR_BYTES, true)
}
