/** Numbers and layouts of the block device. @virtio 5.2 */

/** Feature bits. @virtio 5.2.3 */
export const BlkFeature = {
  SIZE_MAX: 1,
  SEG_MAX: 2,
  GEOMETRY: 4,
  RO: 5,
  BLK_SIZE: 6,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
  LIFETIME: 15,
  SECURE_ERASE: 16,
  ZONED: 17,
} as const

/** Request types. @virtio 5.2.6 */
export const BlkType = {
  IN: 0,
  OUT: 1,
  FLUSH: 4,
  GET_ID: 8,
  GET_LIFETIME: 10,
  DISCARD: 11,
  WRITE_ZEROES: 13,
  SECURE_ERASE: 14,
} as const
export type BlkType = (typeof BlkType)[keyof typeof BlkType]

/** Status of a request: its last byte, which the device writes. @virtio 5.2.6 */
export const BlkStatus = { OK: 0, IOERR: 1, UNSUPP: 2 } as const
export type BlkStatus = (typeof BlkStatus)[keyof typeof BlkStatus]

// Request header, the first 16 readable bytes, little-endian                              @virtio 5.2.6
//
//   0        4          8        16
//   | type   | reserved | sector |
//
export const HEADER_BYTES = 16

// Segment: the data of a discard, secure erase or write zeroes request is an array of segments      @virtio 5.2.6
//
//   0        8             12      16
//   | sector | num_sectors | flags |
//
export const SEGMENT_BYTES = 16
/** The range may be deallocated if it then reads as zeroes. The remaining bits are reserved. */
export const SEGMENT_UNMAP = 1

/** Length of the string of GET_ID, which is padded with NUL. @virtio 5.2.6 */
export const ID_BYTES = 20

// Configuration space, little-endian                                                      @virtio 5.2.4
//
//   0          8          12        16          18      19        20
//   | capacity | size_max | seg_max | cylinders | heads | sectors | blk_size |
//   24                   25                 26            28            32          33        34
//   | physical_block_exp | alignment_offset | min_io_size | opt_io_size | writeback | unused0 | num_queues |
//   36                    40                44                          48
//   | max_discard_sectors | max_discard_seg | discard_sector_alignment  |
//   48                         52                     56                        57           60
//   | max_write_zeroes_sectors | max_write_zeroes_seg | write_zeroes_may_unmap  | unused1[3] |
//
export const CONFIG_CAPACITY = 0
export const CONFIG_SEG_MAX = 12
export const CONFIG_CYLINDERS = 16
export const CONFIG_HEADS = 18
export const CONFIG_SECTORS = 19
export const CONFIG_BLK_SIZE = 20
export const CONFIG_PHYSICAL_BLOCK_EXP = 24
export const CONFIG_MIN_IO_SIZE = 26
export const CONFIG_WRITEBACK = 32
export const CONFIG_NUM_QUEUES = 34
export const CONFIG_MAX_DISCARD_SECTORS = 36
export const CONFIG_MAX_DISCARD_SEG = 40
export const CONFIG_DISCARD_SECTOR_ALIGNMENT = 44
export const CONFIG_MAX_WRITE_ZEROES_SECTORS = 48
export const CONFIG_MAX_WRITE_ZEROES_SEG = 52
export const CONFIG_WRITE_ZEROES_MAY_UNMAP = 56
/** Ends before the fields of secure erase and zones, which are not offered. */
export const CONFIG_BYTES = 60
