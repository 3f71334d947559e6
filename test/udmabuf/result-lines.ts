import { inspect } from 'node:util'

/** A line of the guest's report. */
export interface ResultLine {
  readonly name: string
  /** What is wrong; none where the test passed. */
  readonly failure?: string
  /** Why it was not tried. */
  readonly skipped?: string
}

interface TestEvent {
  readonly type: string
  readonly data: {
    readonly name?: string
    readonly nesting?: number
    readonly skip?: string | boolean
    readonly details?: { readonly error?: unknown }
    readonly message?: string
  }
}

/** A reporter for `node --test-reporter`: a line of JSON for each test. */
export default async function* resultLines(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type === 'test:diagnostic' && data.nesting !== 0) continue
    const line = lineOf(type, data)
    if (line) yield `${JSON.stringify(line)}\n`
  }
}

function lineOf(type: string, { name = '', skip, details }: TestEvent['data']): ResultLine | undefined {
  if (type === 'test:fail') return { name, failure: inspect(details?.error, { depth: 4 }) }
  if (type !== 'test:pass') return undefined
  return skip === undefined || skip === false ? { name } : { name, skipped: `${skip}` }
}
