import { hostname } from 'node:os'
import { steadyClock, systemClock } from '../core/clock.ts'
import { Emitter } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import { createLogger } from '../core/pino-logger.ts'
import { systemRandom } from '../core/random.ts'
import { createLibp2pTransport } from '../mesh/libp2p-transport.ts'
import { type NetworkKeys, loadNetworkKey, networkKeyId } from '../mesh/network-key.ts'
import type { Transport } from '../mesh/contract.ts'
import type { Store } from '../store/contract.ts'
import { openDirectory, openMemory } from '../store/directory.ts'
import { createStore } from '../store/level-store.ts'
import { agreementKeyFromSeed } from '../wire/hpke.ts'
import { createSigner } from '../wire/signature.ts'
import { createAddressBook } from './address-book.ts'
import type { NodeEvents, SkeinNode } from './contract.ts'
import { Engine } from './engine.ts'
import { loadIdentity } from './identity.ts'
import { defaultListen, rememberPort } from './listen-port.ts'
import { createLazyMetrics } from './lazy-metrics.ts'
import { Node } from './node.ts'
import { logLosses } from './losses.ts'
import { type NodeOptions, type ResolvedOptions, resolveOptions } from './options.ts'
import { completeRetention } from './retention.ts'
import { logRefusals } from './refusals.ts'
import { withTracing } from './tracing.ts'

/**
 * Starts a node. Rejects with ERR_OPTIONS (the message names the option), ERR_DATA_DIR, ERR_DATA_DIR_LOCKED,
 * ERR_STORE_CORRUPT, ERR_STORE_VERSION, ERR_NETWORK_KEY or ERR_LISTEN, and leaves nothing open then.
 */
export async function createNode(options: NodeOptions = {}): Promise<SkeinNode> {
  const resolved = resolveOptions(options)
  const name = resolved.name ?? defaultName()
  const logger = resolved.logger ?? createLogger({ level: resolved.logLevel, name })
  const { dataDir, mesh } = resolved
  if (dataDir === undefined) {
    logger.info({}, 'no dataDir: messages are kept in memory and are gone when the node stops')
  }
  const networkKey = await loadKeys(resolved)
  const disk = dataDir === undefined ? openMemory() : await openDirectory(dataDir)
  const seed = await loadIdentity(dataDir, systemRandom)
  const clock = steadyClock(systemClock)
  const retention = completeRetention(resolved.retention)
  const { reserveBytes } = resolved
  const store = createStore(
    { ...disk, clock, random: systemRandom, logger },
    { retention, ...(reserveBytes === undefined ? {} : { reserveBytes }) }
  )
  await store.start()
  let engine: Engine
  try {
    const transport = await createTransport(resolved, { store, logger, seed, networkKey })
    engine = new Engine(
      {
        store,
        transport,
        clock,
        machineClock: systemClock,
        random: systemRandom,
        logger,
        signer: createSigner(seed),
        agreementKey: agreementKeyFromSeed(seed)
      },
      {
        name,
        retention,
        keep: resolved.keep,
        custodian: resolved.custodian ?? dataDir !== undefined,
        remembers: dataDir !== undefined
      }
    )
    await engine.start()
    if (resolved.listen === undefined) await rememberPort(store, transport.addresses())
  } catch (error) {
    await store.stop()
    throw error
  }
  const node = new Node(
    {
      engine,
      metrics: createLazyMetrics(engine),
      emitter: new Emitter<NodeEvents>((error) =>
        logger.error({ err: error }, 'an event listener threw')
      )
    },
    {
      name,
      mesh,
      dataDir,
      networkKeyId: networkKey === undefined ? undefined : networkKeyId(networkKey.current, mesh),
      payloadBytes: resolved.payloadBytes,
      startedAt: new Date()
    }
  )
  logRefusals(node, { clock: systemClock, logger })
  logLosses(node, { logger })
  return withTracing(node)
}

async function createTransport(
  options: ResolvedOptions,
  parts: { store: Store; logger: Logger; seed: Uint8Array; networkKey: NetworkKeys | undefined }
): Promise<Transport> {
  const { store, logger, seed, networkKey } = parts
  return createLibp2pTransport(
    { clock: systemClock, random: systemRandom, logger, addressBook: createAddressBook(store) },
    {
      privateKey: seed,
      mesh: options.mesh,
      listen: options.listen ?? (await defaultListen(store)),
      announce: options.announce,
      join: options.join,
      mdns: options.mdns,
      networkKey
    }
  )
}

async function loadKeys(options: ResolvedOptions): Promise<NetworkKeys | undefined> {
  const read = (key: string | Uint8Array): Uint8Array | Promise<Uint8Array> =>
    typeof key === 'string' ? loadNetworkKey(key) : key
  if (options.networkKey === undefined) return undefined
  const current = await read(options.networkKey)
  const { previousNetworkKey } = options
  return {
    current,
    previous: previousNetworkKey === undefined ? undefined : await read(previousNetworkKey)
  }
}

/** The host's name, as far as it can be a node's. */
function defaultName(): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
  return name.slice(0, LIMITS.nameBytes) || 'node'
}
