/** What each rule says, for people. */
export const RULE_TEXTS: Readonly<Record<string, string>> = {
  'lost-messages': 'No confirmed message is missing',
  'repeated-messages': 'None comes twice without cause',
  'altered-messages': 'An id stands for one message',
  'publisher-order': "Each publisher's order is kept",
  'silent-gaps': 'Gaps are told, never silent',
  'shared-work': 'Groups: one member acknowledges',
  'inbox-messages': 'Inbox: once, with a receipt',
  convergence: 'Converges in time after a heal',
  'memory-bound': 'Memory stays within its bound',
  'delivered-counts': 'As many as expected'
}
