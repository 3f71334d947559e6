import type { Figures, Report, Row } from './figures.ts'

/** One of the things compared in a bench. */
export interface Variant {
  readonly name: string
  /** The question it answers, where a bench has several: ratios are taken within it. */
  readonly group?: string
  /** Measures once, long enough for a figure and short enough to be done many times, in turn with the others. */
  measure(): Promise<Figures>
  /** Lets go of what was kept from round to round. */
  close?(): Promise<void>
}

/** Where else a bench measured, and what. */
export interface Elsewhere {
  readonly where: string
  readonly report: Report
}

/** A question, and the variants that answer it. */
export interface Bench {
  readonly name: string
  /** For `--help`: one line. */
  readonly summary: string
  /** Columns of the report in their order, and what each means. Ratios are taken of the first. */
  readonly columns: Readonly<Record<string, string>>
  /** The first variant, of each group where there are several, is what the others are compared with. */
  prepare(random: () => number): readonly Variant[]
  /**
   * Measures the same where there is what this machine lacks.
   * @returns why it did not, where it should have; undefined where this machine lacks nothing
   */
  elsewhere?(rounds: number, seed: number, progress: (line: string) => void): Promise<Elsewhere | string | undefined>
  /** What follows from the figures, for people. */
  conclude?(rows: readonly Row[]): readonly string[]
  /** The figures as a picture: an SVG. */
  plot?(here: Report, elsewhere: Elsewhere | undefined): string
}
