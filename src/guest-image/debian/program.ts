import { runTool, ToolError } from './tool.ts'

/** Program and how to start it: one of another Debian release needs the loader and the libraries of that release. */
export interface Program {
  readonly command: string
  /** Arguments before the program's own. */
  readonly args: readonly string[]
  /** Variables that are added to the environment. */
  readonly env: Readonly<Record<string, string>>
}

/** Returns an installed program. */
export function systemProgram(name: string): Program {
  return { command: name, args: [], env: {} }
}

/**
 * Runs a program until it exits.
 * @returns its standard output
 * @throws {ToolError} if it cannot be started or fails
 */
export async function runProgram(program: Program, args: readonly string[], signal?: AbortSignal): Promise<string> {
  return await runTool(program.command, [...program.args, ...args], { signal, env: program.env })
}

/** Runs a program to its end. @returns what it wrote to standard output; undefined if it cannot be run or fails */
export async function outputOf(program: Program, args: readonly string[]): Promise<string | undefined> {
  try {
    return await runProgram(program, args)
  } catch (error) {
    if (error instanceof ToolError) return undefined
    throw error
  }
}
