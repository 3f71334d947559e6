export interface Spread {
  readonly median: number
  readonly lowest: number
  readonly highest: number
}

export interface Row {
  readonly variant: string
  readonly group?: string | undefined
  readonly figures: Readonly<Record<string, Spread>>
  /** Median of the ratios to the first variant of the group in the first column, round by round. */
  readonly ratio: number
}

/** What is printed: all that is needed to judge the figures and to run them again. */
export interface Report {
  readonly bench: string
  readonly columns: Readonly<Record<string, string>>
  readonly seed: number
  readonly rounds: number
  readonly machine: {
    readonly processor: string
    readonly cores: number
    readonly node: string
    readonly platform: string
  }
  /** Runnable tasks over the last minute, before and after: above the number of cores, figures are too low. */
  readonly load: readonly [before: number, after: number]
  readonly rows: readonly Row[]
  /** What follows from them. */
  readonly conclusions: readonly string[]
}

/** What a round of one variant gave: a number for each column. */
export type Figures = Readonly<Record<string, number>>
