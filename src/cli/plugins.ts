import path from 'node:path'
import { pathToFileURL } from 'node:url'

/**
 * Takes `--plugin FILE` and `--plugin=FILE` from the beginning of the arguments: plug-ins add commands and options, so they must be
 * known before the command line is parsed.
 * @returns URLs of the plug-ins, and the other arguments
 */
export function leadingPlugins(args: readonly string[]): { plugins: string[]; rest: string[] } {
  const plugins: string[] = []
  let next = 0
  while (next < args.length) {
    const [, file = args[next + 1]] = /^--plugin(?:=(.*))?$/s.exec(args[next]) ?? [undefined, '']
    if (!args[next].startsWith('--plugin') || file === '' || file === undefined) break
    next += args[next].includes('=') ? 1 : 2
    plugins.push(pathToFileURL(path.resolve(file)).href)
  }
  return { plugins, rest: args.slice(next) }
}
