import './polyfill.ts'

export { createNode } from './node/create-node.ts'
export { VERSION } from './core/version.ts'
export { ERRORS, SkeinError, isSkeinError } from './core/errors.ts'
export type { ErrorCode, ErrorDetails, ErrorObject } from './core/errors.ts'
export { silentLogger } from './core/logger.ts'
export type { Logger, LogLevel } from './core/logger.ts'
export { Reply } from './node/reply.ts'
export type { NodeOptions } from './node/options.ts'
export type {
  BatchMessage,
  ByteStream,
  Confirm,
  Data,
  IncomingStream,
  NodeEvents,
  NodeStatus,
  OpenStreamOptions,
  OutboxEntry,
  PeerStatus,
  PublishOptions,
  Published,
  ReplyOptions,
  RequestOptions,
  ScatterOptions,
  SendOptions,
  Sent,
  ServiceAnswer,
  ServiceHandler,
  SkeinNode,
  StreamHandler,
  StreamMetadata,
  SubscriberStatus,
  TopicStatus,
  TopologyNode
} from './node/contract.ts'
export type { GroupMemberStatus, GroupStatus } from './groups/contract.ts'
export type {
  DeadLetter,
  DeadLetterEntry,
  From,
  Gap,
  HistoryOptions,
  Message,
  NackOptions,
  SubscribeOptions,
  Subscription,
  SubscriptionEvents,
  SubscriptionLimits,
  SubscriptionStatus,
  WhereFilter
} from './delivery/contract.ts'
export type { ServiceHandle, ServiceReply, ServiceRequest } from './services/contract.ts'
