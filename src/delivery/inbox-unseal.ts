import { isSkeinError } from '../core/errors.ts'
import type { AgreementKey } from '../wire/hpke.ts'
import { inboxChannel } from '../wire/inbox-receipt.ts'
import { openMessage } from '../wire/sealed-message.ts'
import type { Unseal } from './decoder.ts'

/** Opens what came into the inbox of `self`, whose key is `key`. */
export function createUnseal(self: string, key: AgreementKey): Unseal {
  const channel = inboxChannel(self)
  return ({ header }) => {
    if (header.channel !== channel) return undefined
    const parties = { sender: header.publisher, recipient: self, key }
    return (message) => {
      try {
        return openMessage(message, parties)
      } catch (error) {
        // Anybody may write into an inbox: what does not open is counted and is no fault of this node.
        if (!isSkeinError(error, 'ERR_SEALED')) throw error
        return undefined
      }
    }
  }
}
