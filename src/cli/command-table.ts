import type { Command } from 'commander'

/** How each command is loaded. */
export type CommandTable = Readonly<Record<string, () => Promise<Command>>>

/** Adds the command of this name, and loads no other; adds all commands if there is none of this name. */
export async function addWanted(above: Command, table: CommandTable, wanted: string | undefined): Promise<Command> {
  const load = wanted === undefined || !Object.hasOwn(table, wanted) ? undefined : table[wanted]
  for (const each of load ? [load] : Object.values(table)) above.addCommand(await each())
  return above
}
