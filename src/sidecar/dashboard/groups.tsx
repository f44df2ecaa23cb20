import type { JSX } from 'preact'
import { count, nameOf } from './format.ts'
import type { Group } from './model.ts'
import { Empty, Section } from './section.tsx'
import { Table } from './table.tsx'

/** Work groups, and who takes which share. */
export function Groups({ groups }: { groups: readonly Group[] }): JSX.Element {
  return (
    <Section id="groups" title="Work groups" count={String(groups.length)}>
      {groups.length === 0 ? (
        <Empty>
          Members of a group share the work: <code>skein sub 'jobs/#' --group workers</code> on
          several nodes.
        </Empty>
      ) : (
        <Table
          label="Work groups"
          columns={['Group', { minor: 'Filter' }, 'Members, with their share', { number: 'Lag' }]}
        >
          {groups.map((group) => (
            <tr key={group.name}>
              <th scope="row">{group.name}</th>
              <td class="wrap minor">
                <code>{group.filter}</code>
              </td>
              <td class="wrap">
                <Members group={group} />
              </td>
              <td class="number">{count(group.lag)}</td>
            </tr>
          ))}
        </Table>
      )}
    </Section>
  )
}

const SLOTS = 256

function Members({ group }: { group: Group }): JSX.Element {
  if (group.members.length === 0) return <span class="dim">nobody at work</span>
  return (
    <>
      {group.members.map(({ node, peerId, slots, state }, index) => (
        <span key={peerId} class={state === 'live' ? '' : 'bad'}>
          {index > 0 && ', '}
          {nameOf(peerId, node)} {Math.round((slots / SLOTS) * 100)} %
          {state !== 'live' && ` (${state})`}
        </span>
      ))}
    </>
  )
}
