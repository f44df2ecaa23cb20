/** Every bound of Skein, in one place, each with its reason. The relations between them hold at load. */

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB

export const LIMITS = {
  /** Topic levels. A channel takes the first; the trie's depth, and so the cost of a match, is bounded by it. */
  topicLevels: 14,
  /** UTF-8 bytes of a topic or filter: fits every file name, gossip topic and log line. */
  topicBytes: 200,
  /** Channels one node may join, `$` and `@` ones not counted: gossipsub keeps 1 MiB of topics per peer. */
  channels: 256,
  /** Channels one node tells its neighbours of without being a member: some 400 KiB of names in a greeting at most. */
  advertisedChannels: 2048,
  /** A batch is closed at this size: the gain of packing flattens past 32 KiB (measured), latency does not. */
  batchBytes: 64 * KIB,
  /** A batch is closed at this many messages, so that a count always fits 16 bits. */
  batchMessages: 16_384,
  /** Largest payload, until records above `pushBytes` are pulled by sync. */
  payloadBytes: 192 * KIB,
  /** Headers of one message, names and values together. */
  headersBytes: 8 * KIB,
  /** Key, content type, idempotency id, reply-to: each. */
  fieldBytes: 1 * KIB,
  /** A record's header with its signature. */
  headBytes: 1 * KIB,
  /** A record above this is not pushed to neighbours. gossipsub goes deaf for ever above 4 MiB. */
  pushBytes: 256 * KIB,
  /** Islands kept above the head of one log; further records wait for the gap to close. */
  islands: 64,
  /** A record's age may have grown by so much on its way, ms: what is chosen by age is chosen with this in hand. */
  ageMarginMs: 5_000,
  /** A record further ahead of local time than this does not move the local clock, ms. */
  clockAheadMs: 60_000,
  /** A node goes on after what it said in a former life, if that is not further ahead of its clock than this, ms. */
  formerClockAheadMs: 24 * 3_600_000,
  /** Acknowledged ranges kept above a cursor before the subscription waits. */
  cursorRanges: 1024,
  /** Ranges of one log that a group tells of: a value stays within 40 KiB. Above it members wait for the oldest. */
  groupRanges: 4096,
  /** Members of a group that works only as a majority: each hears all others twice a second. */
  groupMajority: 64,
  /** Messages handed over and not acknowledged, per subscription, by default. */
  maxInFlight: 256,
  /** Messages of one channel, next to be handed over, among which a higher priority goes first: what one may be overtaken by. */
  readyMessages: 256,
  /** Bytes of their records: some 1 MiB of memory for each channel of a subscription whose consumer is slow. */
  readyBytes: 1 * MIB,
  /** `where` of a subscription, as JSON: percent-encoded, it fits the request line of an event stream. */
  whereBytes: 4 * KIB,
  /** Filters within filters of a `where`, at most. */
  whereDepth: 8,
  /** Filters and attributes of a `where` together: what one message costs at most. */
  whereTerms: 64,
  /** Record bytes that a `where` passes over before other work gets its turn: some milliseconds of parsing. */
  whereSliceBytes: 256 * KIB,
  /** How long a handed-over message may stay unacknowledged by default, ms. */
  ackTimeoutMs: 30_000,
  /** Shortest such time, ms: below it, a consumer on a busy machine would get everything twice. */
  ackTimeoutLeastMs: 100,
  /** Hand-overs of one message by default before it is a dead letter: enough for what passes by itself. */
  maxDeliveries: 5,
  /** A message whose handler threw is handed over again after this time by default, ms: doubled each time ... */
  retryMinMs: 100,
  /** ... up to this. */
  retryMaxMs: 30_000,
  /** Dead letters in one answer. */
  deadLettersListed: 1000,
  /** Messages that wait at one subscription apart from its channels, each with a copy: some 5 MiB of index. */
  parkedMessages: 10_000,
  /** Bytes of their copies. */
  parkedBytes: 64 * MIB,
  /** How long a gap may last before it is reported and an ephemeral subscription skips it, ms. */
  gapTimeoutMs: 10_000,
  /** Newest records of all channels in memory for live subscriptions, objects included; beyond, disk is read. */
  liveTailBytes: 8 * MIB,
  /** Read from disk at once for a subscription that is behind. */
  readBytes: 512 * KIB,
  /** Records in memory for one reader of history, whatever the number of logs it reads. */
  historyBytes: 4 * MIB,
  /** Messages in one page of history over HTTP, by default. */
  historyPage: 100,
  /** Payload bytes accepted and not yet confirmed; `publish` waits above it. */
  publishWindowBytes: 8 * MIB,
  /** Payload bytes waiting behind the window; `publish` rejects with ERR_BUSY above it. */
  publishQueueBytes: 64 * MIB,
  /** Synced copies on other nodes that one call may ask for: a node dials at most so many peers. */
  replicas: 64,
  /** Publishes that wait for synced copies elsewhere at once; ERR_BUSY above it: two seconds at 50,000 a second. */
  replicaWaiters: 100_000,
  /** Logs that one peer may have watched for such copies: twice the channels it may advertise. */
  replicaWatches: 4096,
  /** How long an idempotency id stands for one message, ms: longer than clients go on with a call that failed. */
  idempotencyMs: 600_000,
  /** Idempotency ids remembered at once, the oldest forgotten first: some 30 MiB of index. */
  idempotencyIds: 100_000,
  /** A frame on a protocol stream between two peers: any pushed record, and what a message adds to it. */
  streamFrameBytes: 1 * MIB,
  /** What one side of a byte stream takes before it is read: its memory, and how far the writer may be ahead. */
  streamWindowBytes: 1 * MIB,
  /** Bytes of a byte stream in one frame: what files and sockets are read by. */
  streamPieceBytes: 64 * KIB,
  /** A frame of a byte stream counts for so many bytes at least: so many objects fit a window, and no more. */
  streamPieceLeastCost: 256,
  /** What the opener tells of a byte stream, as JSON. */
  streamMetadataBytes: 4 * KIB,
  /** Byte streams with one peer, those it opened and those opened to it, each: with windows, 32 MiB. */
  streamsPerPeer: 32,
  /** Byte streams with all peers, those they opened and those opened to them, each. */
  streams: 256,
  /** Whoever is asked to take a byte stream answers within this time, ms. */
  streamOpenMs: 10_000,
  /** A byte stream that is over must be closed by the other side within this time, ms, or is cut. */
  streamLingerMs: 5_000,
  /** Bytes waiting for one neighbour on its push stream; `publish` waits above it. */
  neighbourBufferBytes: 4 * MIB,
  /** Name of a node, mesh, durable subscription or group: fits a file name and a topic level. */
  nameBytes: 64,
  /** A cursor as text. */
  cursorBytes: 200,
  /** Records in one commit of the store. */
  commitRecords: 256,
  /** A commit of the store is closed at this size: 1 MiB goes through LevelDB twice as fast as 8 (measured). */
  commitBytes: 1 * MIB,
  /** Request line and headers of one HTTP request: a message's headers and a token fit twice. */
  httpHeaderBytes: 16 * KIB,
  /** HTTP connections at once, where so many files may be open; those with an event stream cost some 30 KiB each. */
  httpConnections: 16_384,
  /** A client must have sent its request headers within this time, ms (slowloris). */
  httpHeadersTimeoutMs: 10_000,
  /** Who is late is looked for so often, ms. */
  httpLateCheckMs: 2_500,
  /** Wrong API tokens that one client may try in a minute. */
  wrongTokens: 20,
  /** Clients whose tokens are remembered, right or wrong. */
  tokenClients: 4096,
  /** A client that had the token so long ago is one that may have it, ms. */
  tokenKnownMs: 600_000,
  /** A client must have sent a whole message or JSON body within this time, ms. Streams of lines may last. */
  httpBodyTimeoutMs: 30_000,
  /** At a stop, HTTP requests that are under way have so long to be answered, ms: with the rest, within stopTimeoutMs. */
  httpDrainMs: 2_500,
  /** A JSON request body: acknowledgements of a full window fit. */
  httpJsonBytes: 1 * MIB,
  /** A CloudEvent in JSON: the largest payload and its attributes, where escapes make six bytes of one. */
  httpEventBytes: 1280 * KIB,
  /** A batch of CloudEvents in JSON, which is in memory as a whole: streams of lines have no such bound. */
  httpBatchBytes: 4 * MIB,
  /** Messages of one streamed HTTP request that are published and not yet confirmed. */
  httpPublishWindow: 4096,
  /** Payload bytes of one streamed HTTP request that are published and not yet confirmed. */
  httpPublishWindowBytes: 4 * MIB,
  /** An idle event stream gets a comment after this time, ms, so that proxies and clients see it alive. */
  sseCommentMs: 15_000,
  /** Bytes formatted for one event stream at once: bounds its memory, amortises its socket writes. */
  sseBatchBytes: 512 * KIB,
  /** The same where many streams share `eventStreamsBytes`: a write of this size costs hardly more than a smaller one. */
  sseBatchLeastBytes: 16 * KIB,
  /** Bytes formatted for all event streams and not yet taken by slow readers, give or take the least of each. */
  eventStreamsBytes: 64 * MIB,
  /** Events kept as text for the streams that are next to send them, with the records they are parts of. */
  eventTextsBytes: 8 * MIB,
  /** An event stream whose reader has taken nothing for so long is cut, ms: it can resume where it was. */
  sseStallMs: 300_000,
  /** Messages taken by one pull. */
  pullMessages: 1024,
  /** How long one pull may wait, ms: below the idle timeout of common proxies. */
  pullWaitMs: 55_000,
  /** How long one HTTP request may wait for a receipt, ms: longer waits belong to `outbox`. */
  receiptWaitMs: 3_600_000,
  /** A durable subscription opened by pulls is closed when nobody has pulled for so long, ms. */
  pullIdleMs: 60_000,
  /** A WebSocket frame: the largest payload in base64, and what belongs to it. */
  wsFrameBytes: 1 * MIB,
  /** Bytes taken at once for one subscription over WebSocket: many fit the buffer. */
  wsBatchBytes: 64 * KIB,
  /** Subscriptions of one WebSocket connection: each may have a batch in memory. */
  wsSubscriptions: 64,
  /** Commands of one WebSocket connection that are under way; no more is read from it then. */
  wsCommands: 256,
  /** Commands that wait for others (requests, services that end); ERR_BUSY above it. */
  wsLongCommands: 256,
  /** Services that one WebSocket connection answers. */
  wsServices: 64,
  /** Requests of a service that one WebSocket connection has at once, by default. */
  wsServiceConcurrency: 16,
  /** A WebSocket client is pinged so often, ms; one that is not heard of for two of them is cut off. */
  wsPingMs: 15_000,
  /** Pushes to one webhook that are under way at once, by default: what one small service takes. */
  webhookConcurrency: 16,
  /** How long a webhook may take to answer a push by default, ms. */
  webhookTimeoutMs: 30_000,
  /** Longest such time, ms: the HTTP client gives up at it, too. */
  webhookTimeoutMaxMs: 300_000,
  /** Headers that go with each push, as JSON: credentials fit. */
  webhookHeadersBytes: 4 * KIB,
  /** Of an answer to a push, so much is read to keep its connection. */
  webhookAnswerBytes: 64 * KIB,
  /** Payload bytes in hand for one webhook: messages behind one of their key that is being tried again. */
  webhookWindowBytes: 8 * MIB,
  /** A push that failed is tried again after this time, ms, doubled each time ... */
  webhookRetryMinMs: 1000,
  /** ... up to this. */
  webhookRetryMaxMs: 60_000,
  /** Longest `Retry-After` that is honoured, ms: a mistaken date must not stop a subscription for days. */
  webhookRetryAfterMaxMs: 3_600_000,
  /** So many pushes fail one after the other, and it is the webhook that fails rather than its messages. */
  webhookFailuresInARow: 10,
  /** MQTT connections at once; idle ones cost some 30 KiB each. */
  mqttConnections: 1024,
  /** An MQTT client must have sent its CONNECT within this time, ms. */
  mqttConnectTimeoutMs: 10_000,
  /** Bytes of a CONNECT: the largest will, 64 KiB, with a topic, a client id, a user name and a password. */
  mqttConnectBytes: 80 * KIB,
  /** Bytes of one MQTT packet beside a payload: a topic, a client id, a user name and a password. */
  mqttHeadBytes: 8 * KIB,
  /** Topic filters of one MQTT client: each is a subscription of the node. */
  mqttFilters: 1024,
  /** Topic filters of all persistent MQTT sessions of a node: clients that never return leave theirs behind. */
  mqttKeptFilters: 16_384,
  /** QoS 1 and 2 messages sent to one MQTT client that it has not acknowledged; the rest waits on disk. */
  mqttInFlight: 128,
  /** QoS 2 messages of one MQTT client between PUBLISH and PUBREL; above it the connection is closed. */
  mqttInFlightInbound: 1024,
  /** Bytes written to one MQTT client that its socket has not taken; the rest waits on disk. */
  mqttWriteBytes: 64 * KIB,
  /** An MQTT client that takes nothing for so long is closed, ms: whoever wants that sooner says so by its keep-alive. */
  mqttDrainMs: 24 * 3_600_000,
  /** Last values of topics that the MQTT interface keeps in memory; above it, they are read from disk. */
  mqttRetainedBytes: 64 * MIB,
  /** Packets that a client may send behind its CONNECT before that is answered. */
  mqttEarlyPackets: 1024,
  /** Persistent MQTT sessions without a connection of which exchanges under way are remembered: some 10 MiB. */
  mqttSessions: 10_000,
  /** A durable subscription of an MQTT session hands over again by itself after this time, ms: MQTT repeats when a client comes back. */
  mqttAckTimeoutMs: 30 * 24 * 3_600_000,
  /** Ranges in an inbox receipt: as many as a log has islands, about a KiB. */
  receiptRanges: 64,
  /** How long a message to one peer waits for it by default, ms: a week covers holidays. */
  inboxTtlMs: 7 * 24 * 3_600_000,
  /** How long it may wait at most, ms: what custodians and a recipient keep of an inbox. */
  inboxTtlMaxMs: 30 * 24 * 3_600_000,
  /** Headers that a dead letter adds to those of the message: reason, recipient, id and time. */
  deadLetterHeadersBytes: 512,
  /** Messages that wait for their recipients at one sender: some 40 MiB of index. */
  outboxMessages: 100_000,
  /** Records kept for other peers, all together; one sender may take a quarter. */
  custodyBytes: 256 * MIB,
  /** Records taken from one sender for others, per second: each costs a synced write. */
  custodyRecordsPerSecond: 200,
  /** A custodian that has not answered after this time is not waited for, ms. */
  custodyTimeoutMs: 2_000,
  /** How long a caller waits for a reply by default, ms. */
  requestTimeoutMs: 10_000,
  /** Longest deadline of a request, ms: what takes longer is work to be queued. */
  requestTimeoutMaxMs: 3_600_000,
  /** Requests of one node to another that are not answered; ERR_BUSY above it. */
  requestsInFlight: 4096,
  /** Payload bytes of such requests; ERR_BUSY above it. */
  requestBytes: 32 * MIB,
  /** Requests of all nodes that wait for or are with the handlers of one node; ERR_BUSY above it. */
  servedRequests: 16_384,
  /** Payload bytes of such requests; ERR_BUSY above it. */
  servedBytes: 64 * MIB,
  /** Replies of one stream of replies that are sent and not yet consumed. */
  replyWindow: 16,
  /** Frames for one peer packed into one write, give or take one. */
  requestBatchBytes: 64 * KIB,
  /** Unsent replies above which nothing more is read from a peer that does not take them. */
  replyBufferBytes: 4 * MIB,
  /** Unsent replies above which such a peer is hung up on. */
  replyBacklogBytes: 32 * MIB,
  /** Requests that one service handles at once by default. */
  serviceConcurrency: 256,
  /** Nodes that one call may ask at once: as many as a node has neighbours. */
  scatterPeers: 64,
  /** How long the question who is connected to whom may take, ms: a page that shows it asks often. */
  topologyMs: 1_000,
  /** Peers that one node tells of in its answer: more than it can have connections. */
  topologyPeers: 128,
  /** Peers that a neighbour is asked to ask: their answers fit one payload. */
  topologyRelayed: 24,
  /** At a stop, requests that are being handled have so long to finish, ms. */
  serviceDrainMs: 3_000,
  /** Publishers whose ephemeral sequences are remembered; above it the one silent for longest is forgotten. */
  ephemeralPublishers: 4096,
  /** An announcement of a node, as JSON: heard by every node, so it stays a small record. */
  presenceBytes: 16 * KIB,
  /** Channels, services and groups in an announcement, each. */
  presenceNames: 64,
  /** Durable subscriptions in an announcement, those that lag most first. */
  presenceSubscriptions: 256,
  /** Addresses in an announcement. */
  presenceAddresses: 8,
  /** Shortest time between two announcements of an idle node, ms. */
  presenceIntervalMs: 2_000,
  /** Announcements a second in the whole mesh: with more nodes each announces less often. */
  presencePerSecond: 50,
  /** Longest interval an announcement may promise, ms: that of 30,000 nodes. */
  presenceIntervalMaxMs: 600_000,
  /** Peers remembered, on or off. */
  knownPeers: 10_000,
  /** How long a peer that is off is remembered, ms: 30 days. */
  knownPeersMs: 30 * 24 * 3_600_000,
  /** Durable subscriptions of the whole mesh that are listed. */
  subscribers: 65_536,
  /** Durable subscriptions of one peer that are listed. */
  subscribersPerPeer: 1024,
  /** Everything must be closed this long after stop was asked for, ms; supervisors kill after 10 s or more. */
  stopTimeoutMs: 10_000
} as const

const relations: ReadonlyArray<readonly [boolean, string]> = [
  [
    LIMITS.payloadBytes + LIMITS.headersBytes + 8 * LIMITS.fieldBytes + LIMITS.headBytes <=
      LIMITS.pushBytes,
    'the largest message fits one pushed record'
  ],
  [LIMITS.batchBytes <= LIMITS.pushBytes, 'a full batch can be pushed'],
  [
    LIMITS.pushBytes + LIMITS.batchBytes <= LIMITS.streamFrameBytes,
    'a stream frame takes any record'
  ],
  [
    LIMITS.streamPieceBytes * 4 <= LIMITS.streamWindowBytes &&
      LIMITS.streamPieceBytes + KIB <= LIMITS.streamFrameBytes,
    'a piece of a byte stream fits a frame, and several a window'
  ],
  [
    LIMITS.requestBatchBytes + LIMITS.payloadBytes + LIMITS.headersBytes + LIMITS.batchBytes <=
      LIMITS.streamFrameBytes,
    'a stream frame takes packed requests and the largest one behind them'
  ],
  [LIMITS.pushBytes * 4 <= LIMITS.neighbourBufferBytes, 'a neighbour buffer holds several records'],
  [LIMITS.pushBytes < LIMITS.liveTailBytes, 'the live tail holds any record'],
  [LIMITS.publishWindowBytes > LIMITS.payloadBytes, 'the publish window takes any payload'],
  [LIMITS.publishWindowBytes <= LIMITS.publishQueueBytes, 'the queue holds at least a window'],
  [LIMITS.commitBytes >= LIMITS.pushBytes, 'a commit takes any record'],
  [LIMITS.maxInFlight <= LIMITS.cursorRanges, 'acknowledgements of a whole window fit a cursor'],
  [LIMITS.headersBytes < LIMITS.httpHeaderBytes, 'the largest message headers fit an HTTP request'],
  [LIMITS.whereBytes * 3 < LIMITS.httpHeaderBytes, 'any `where` fits an HTTP request line'],
  [
    (LIMITS.payloadBytes + LIMITS.headersBytes) * 6 <= LIMITS.httpEventBytes,
    'the largest message fits an event in JSON'
  ],
  [
    LIMITS.httpPublishWindowBytes > LIMITS.payloadBytes &&
      LIMITS.httpPublishWindowBytes <= LIMITS.publishWindowBytes,
    'a streamed request may hold any payload, and less than the publish window'
  ],
  [
    LIMITS.payloadBytes * 1.5 + LIMITS.headersBytes + 8 * LIMITS.fieldBytes <= LIMITS.wsFrameBytes,
    'the largest message fits a WebSocket frame, in base64'
  ],
  [LIMITS.pullMessages * 256 <= LIMITS.httpJsonBytes, 'acknowledgements of a pull fit one request'],
  [
    LIMITS.channels < LIMITS.advertisedChannels,
    'the names of one link, twice those advertised, cover the channels joined'
  ],
  [
    LIMITS.presenceIntervalMs < LIMITS.presenceIntervalMaxMs,
    'an idle node announces within the longest interval'
  ],
  [LIMITS.presenceBytes < LIMITS.batchBytes, 'an announcement fits one record'],
  [LIMITS.readBytes < LIMITS.historyBytes, 'a reader of history reads several logs ahead'],
  [
    LIMITS.httpDrainMs + 2 * LIMITS.serviceDrainMs < LIMITS.stopTimeoutMs,
    'HTTP requests, webhooks and handlers drain one after the other before the end'
  ],
  [LIMITS.topicLevels <= LIMITS.topicBytes, 'a topic of empty levels fits']
]

for (const [holds, what] of relations) {
  if (!holds) throw new Error(`limits.ts: ${what} does not hold`)
}
