/** How a node keeps its neighbours, over any kind of network. */

/** Connect to every member up to this many peers; above, wait until a neighbour is lost. */
export const PEERS = 64
/** Inbound connections are still taken up to this many, so that a full node does not turn newcomers away. */
export const PEERS_MAX = 80
/** A ping goes to every neighbour this often. */
export const PING_MS = 2000
/** A link that carried nothing for this long is deaf: three pings. */
export const DEAF_MS = 6000
/** Between two looks at neighbours. */
export const TICK_MS = 1000
/** A neighbour that takes nothing for this long no longer holds up publishers. */
export const LEAVE_BEHIND_MS = 10_000
/** At a stop: time for neighbours to read what waits. */
export const DRAIN_MS = 700
export const DRAIN_STEP_MS = 5
/** How long a stream may take to open. */
export const STREAM_OPEN_MS = 10_000
