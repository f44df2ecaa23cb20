import type { ComponentChildren, JSX } from 'preact'

export interface SectionProps {
  readonly id: string
  readonly title: string
  /** How many there are. */
  readonly count?: string | undefined
  readonly children: ComponentChildren
  /** Beside the title. */
  readonly aside?: ComponentChildren
}

export function Section({ aside, children, count, id, title }: SectionProps): JSX.Element {
  return (
    <section id={id} aria-labelledby={`${id}-title`} tabIndex={-1}>
      <div class="title">
        <h2 id={`${id}-title`}>{title}</h2>
        {count !== undefined && <span class="count">{count}</span>}
        {aside !== undefined && <span class="aside">{aside}</span>}
      </div>
      {children}
    </section>
  )
}

/** What to do where there is nothing yet. */
export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="empty">{children}</p>
}
