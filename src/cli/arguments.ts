import { InvalidArgumentError } from 'commander'
import { integer } from '../catalogue/options.ts'
import { isUsageError } from '../services/usage-error.ts'

/** Parser of an argument that is a whole number from `least` to `most`. */
export function wholeNumber(least: number, most: number): (value: string) => number {
  const parse = integer(least, most)
  return (value) => invalidIfUsage(() => parse(value))
}

/** Calls a parser of an argument. Its usage error becomes the error that commander prints with the argument's name. */
export function invalidIfUsage<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw isUsageError(error) ? new InvalidArgumentError(error.message) : error
  }
}
