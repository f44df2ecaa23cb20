/** One run of the simulator, as a child process is told of it. */
export interface Trial {
  readonly scenario: string
  readonly seed: number
  /** How long the application works at each message before it is done with it, simulated ms; default not at all. */
  readonly worksMs?: number | undefined
}

/** What came out, as the child process says it. */
export interface Outcome {
  readonly ok: boolean
  readonly published: number
  readonly delivered: number
  readonly violations: ReadonlyArray<{
    readonly checker: string
    readonly subscription: string
    readonly what: string
    readonly id: string
  }>
}
