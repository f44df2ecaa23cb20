import type { Random } from '../../src/core/random.ts'
import type { NetworkBase } from '../scenario/contract.ts'
import type { VirtualDisk, VirtualNetwork, VirtualTime } from './contract.ts'
import { createSharedRecords, type SharedRecords } from './shared-records.ts'
import { createSharedSignatures, type SharedSignatures } from './shared-signatures.ts'
import { createVirtualDisk } from './virtual-disk.ts'
import { createVirtualNetwork } from './virtual-network.ts'
import { createVirtualTime } from './virtual-time.ts'

export interface WorldInit {
  /** An independent generator for each part of the world. */
  readonly random: (part: string) => Random
  readonly network: NetworkBase
  /** Of each node; see `VirtualNetworkInit`. */
  readonly neighbours?: number | undefined
}

/** Time, network and disks of one run. Nothing outlives it. */
export interface World {
  readonly time: VirtualTime
  readonly network: VirtualNetwork
  readonly signatures: SharedSignatures
  readonly records: SharedRecords
  /** `name` tells its generator from others. */
  readonly createDisk: (name: string, sizeBytes: number | undefined) => VirtualDisk
}

export function createWorld({ neighbours, network, random }: WorldInit): World {
  const time = createVirtualTime()
  const signatures = createSharedSignatures()
  return {
    time,
    network: createVirtualNetwork({ time, random: random('network') }, { ...network, neighbours }),
    signatures,
    records: createSharedRecords(signatures),
    createDisk: (name, sizeBytes) =>
      createVirtualDisk({ random: random(`disk ${name}`) }, { sizeBytes })
  }
}
