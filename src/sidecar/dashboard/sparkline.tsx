import type { JSX } from 'preact'

const WIDTH = 96
const HEIGHT = 20
/** Points in a whole line. */
const POINTS = 60

/** The way of a figure over the last minutes; the figure itself stands beside it. */
export function Sparkline({ values }: { values: readonly number[] }): JSX.Element {
  const shown = values.slice(-POINTS)
  const most = Math.max(...shown, 1e-9)
  const points = shown.map((value, index) => {
    const x = WIDTH - (shown.length - 1 - index) * (WIDTH / (POINTS - 1))
    return `${x.toFixed(1)},${(HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(1)}`
  })
  const [first = ''] = points
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <line class="ground" x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
      {shown.some((value) => value > 0) && points.length > 1 && (
        <>
          <polygon
            points={`${first.split(',')[0] ?? ''},${HEIGHT} ${points.join(' ')} ${WIDTH},${HEIGHT}`}
          />
          <polyline points={points.join(' ')} />
        </>
      )}
    </svg>
  )
}
