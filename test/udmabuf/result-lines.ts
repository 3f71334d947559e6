import { inspect } from 'node:util'

/** Result of one test. */
export interface ResultLine {
  readonly name: string
  /** The error; undefined if the test passed. */
  readonly failure?: string
  /** Reason why the test was skipped. */
  readonly skipped?: string
}

interface TestEvent {
  readonly type: string
  readonly data: {
    readonly name?: string
    readonly skip?: string | boolean
    readonly message?: string
    readonly details?: { readonly error?: Error }
  }
}

/** Reporter for `node --test-reporter`: prints a line of JSON for each test, and the output of programs unchanged. */
export default async function* resultLines(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type === 'test:stdout' || type === 'test:stderr') yield `${data.message}\n`
    const line = lineOf(type, data)
    if (line) yield `${JSON.stringify(line)}\n`
  }
}

function lineOf(type: string, { name = '', skip, details }: TestEvent['data']): ResultLine | undefined {
  if (type === 'test:fail') return { name, failure: inspect(details?.error?.cause ?? details?.error, { depth: 4 }) }
  if (type !== 'test:pass') return undefined
  return skip === undefined || skip === false ? { name } : { name, skipped: `${skip}` }
}
