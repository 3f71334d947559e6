/** Feature bits. @virtio 5.5.3 */
export const BalloonFeature = {
  STATS_VQ: 1,
  DEFLATE_ON_OOM: 2,
  PAGE_POISON: 4,
  PAGE_REPORTING: 5,
} as const

// Configuration space, 16 bytes, little-endian                        @virtio 5.5.4
//
//   0           4        8                      12
//   | num_pages | actual | free_page_hint_cmd_id | poison_val |
//
export const CONFIG_BYTES = 16
export const CONFIG_NUM_PAGES = 0
export const CONFIG_ACTUAL = 4
export const CONFIG_HINT_COMMAND = 8
export const CONFIG_POISON = 12

/** Unit of page numbers in bytes, whatever the page size of the guest. @virtio 5.5.6 */
export const BALLOON_PAGE = 4096

/** Roles of queues. Their indices depend on the features: see `queueRoles`. @virtio 5.5.2 */
export const QueueRole = {
  INFLATE: 'inflate',
  DEFLATE: 'deflate',
  STATS: 'statistics',
  REPORTING: 'reporting',
} as const
export type QueueRole = (typeof QueueRole)[keyof typeof QueueRole]

/** Index of the reporting queue in the specification. */
export const REPORTING_INDEX = 4

/** Size of a statistic in bytes: a 16-bit tag, then a 64-bit value. @virtio 5.5.6.3 */
export const STATISTIC_BYTES = 10

/** Names of statistics by tag. Linux sends those from 10 on, which are not in the specification. @virtio 5.5.6.4 */
export const STATISTIC_NAMES = [
  'swapIn',
  'swapOut',
  'majorFaults',
  'minorFaults',
  'freeMemory',
  'totalMemory',
  'availableMemory',
  'caches',
  'hugePageAllocations',
  'hugePageFailures',
  'oomKills',
  'allocationStalls',
  'asyncScans',
  'directScans',
  'asyncReclaims',
  'directReclaims',
] as const
