import { runTool, ToolError } from './tool.ts'

/** A program, and how it is started: one of another Debian release needs the loader and the libraries of that release. */
export interface Program {
  readonly command: string
  /** What comes before its own arguments. */
  readonly args: readonly string[]
  /** Added to the environment. */
  readonly env: Readonly<Record<string, string>>
}

/** A program of this machine. */
export function systemProgram(name: string): Program {
  return { command: name, args: [], env: {} }
}

/**
 * Runs a program to its end.
 * @returns what it wrote to standard output
 * @throws {ToolError}
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
