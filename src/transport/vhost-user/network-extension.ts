import { featureSet } from '../../virtio/feature.ts'
import type { VhostUserExtension } from './extension.ts'
import { ProtocolFeature } from './protocol.ts'
import { VhostUserError } from './vhost-user-error.ts'

/** Requests of front-ends to a network device, outside of virtio. */
export interface NetworkServices {
  /** Announces the guest's address after a migration, for guests that do not. */
  announce(mac: Uint8Array): void
  /** @returns true if the device can carry frames with this MTU */
  setMtu(mtu: number): boolean
}

/** Messages to network devices. Queues are counted in pairs. @vhost-user SEND_RARP, NET_SET_MTU */
export function networkExtension(network: NetworkServices): VhostUserExtension {
  return {
    protocolFeatures: featureSet(ProtocolFeature.MTU, ProtocolFeature.RARP),
    ringsPerQueue: 2,
    handlers: {
      SEND_RARP: ({ mac }) => network.announce(mac),
      NET_SET_MTU: (mtu) => {
        if (!network.setMtu(mtu)) throw new VhostUserError(`MTU ${mtu} is not supported`)
      },
    },
  }
}
