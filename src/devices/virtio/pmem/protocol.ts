/** Feature bits. @virtio 5.19.3 */
export const PmemFeature = { SHMEM_REGION: 0 } as const

/** Size of the configuration space in bytes: `start` and `size`, which are 0 with SHMEM_REGION. @virtio 5.19.4 */
export const CONFIG_BYTES = 16

/** Shared memory region with the file. @virtio 5.19.5.1 */
export const REGION_ID = 0

/** Request types. @virtio 5.19.6 */
export const PmemRequest = { FLUSH: 0 } as const

/** Results of requests. @virtio 5.19.7.3 */
export const PmemResult = { OK: 0, FAILED: 0xffff_ffff } as const
