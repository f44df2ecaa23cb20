// libp2p 3 and several of its dependencies call Promise.withResolvers, which Node has from 22 on; without
// it a node on Node 20 throws inside the peer store. Added only when absent, before libp2p is loaded.
interface WithResolvers {
  withResolvers?: <T>() => {
    promise: Promise<T>
    resolve: (value: T | PromiseLike<T>) => void
    reject: (reason?: unknown) => void
  }
}

const constructor = Promise as unknown as WithResolvers

constructor.withResolvers ??= <T>() => {
  let resolve!: (value: T | PromiseLike<T>) => void
  let reject!: (reason?: unknown) => void
  const promise = new Promise<T>((_resolve, _reject) => {
    resolve = _resolve
    reject = _reject
  })
  return { promise, resolve, reject }
}
