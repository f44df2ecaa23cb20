import type { ComponentChildren, JSX } from 'preact'

/** A heading: of text, of numbers, of what a phone has no room for, or one that needs no words on the screen. */
type Column =
  | string
  | { readonly number: string; readonly isMinor?: boolean }
  | { readonly minor: string }
  | { readonly hidden: string; readonly isMinor?: boolean }

export interface TableProps {
  readonly label: string
  readonly columns: readonly Column[]
  /** Rows. */
  readonly children: ComponentChildren
}

/** A table that scrolls by itself where it is too wide, with the keyboard, too. */
export function Table({ children, columns, label }: TableProps): JSX.Element {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <Heading key={JSON.stringify(column)} column={column} />
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  )
}

function Heading({ column }: { column: Column }): JSX.Element {
  if (typeof column === 'string') return <th scope="col">{column}</th>
  if ('minor' in column) {
    return (
      <th scope="col" class="minor">
        {column.minor}
      </th>
    )
  }
  if ('number' in column) {
    return (
      <th scope="col" class={column.isMinor === true ? 'number minor' : 'number'}>
        {column.number}
      </th>
    )
  }
  return (
    <th scope="col" class={column.isMinor === true ? 'minor' : ''}>
      <span class="visually-hidden">{column.hidden}</span>
    </th>
  )
}
