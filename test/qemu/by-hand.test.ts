/** Executes the commands of docs/qemu.md. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Program } from '../../src/guest-image/debian/program.ts'
import { until } from '../until.ts'
import { ImageToolsMissing, makeBootableImage } from './bootable-image.ts'
import { MAIN, scratchFolder } from './device-program.ts'
import { qemu, qemuMissing } from './guest.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url)).replace(/dist\/$/, '')
const skip = qemuMissing ?? false
const folder = scratchFolder()
const programs = path.join(folder, 'bin')

/** Returns the indented blocks of a section of the page, in order. */
function commandsOf(section: string): string[] {
  const page = readFileSync(path.join(ROOT, 'docs/qemu.md'), 'utf8')
  const [, text = ''] = new RegExp(`\\n## ${section}\\n([^]*?)\\n## `).exec(page) ?? []
  return [...text.matchAll(/(?:^ {4}.*\n)+/gm)].map(([block]) => block.replaceAll(/^ {4}/gm, ''))
}

/** Provides a program under the name that the page uses. */
function install(name: string, { command, args, env }: Program): void {
  const quoted = [command, ...args].map((word) => `'${word}'`).join(' ')
  const exported = Object.entries(env).map(([key, value]) => `export ${key}='${value}'\n`)
  writeFileSync(path.join(programs, name), `#!/bin/sh\n${exported.join('')}exec ${quoted} "$@"\n`, { mode: 0o755 })
}

/** Terminal that executes commands. */
class Terminal {
  output = ''
  readonly #shell: ChildProcess

  constructor(commands: string, names: Readonly<Record<string, string>>) {
    this.#shell = spawn('sh', ['-c', commands], {
      env: { ...process.env, ...names, PATH: `${programs}:${process.env['PATH']}` },
      stdio: 'pipe',
      detached: true,
    })
    for (const stream of [this.#shell.stdout, this.#shell.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    }
  }

  type(text: string): void {
    this.#shell.stdin?.write(text)
  }

  async shows(what: RegExp): Promise<void> {
    await until(
      () => `it shows ${what}, but only\n${this.output}`,
      () => what.test(this.output) || this.#shell.exitCode !== null,
    )
    assert.match(this.output, what)
  }

  /** Ends all programs that were started in it. */
  close(): void {
    const { pid } = this.#shell
    if (pid === undefined) return
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // All programs exited by themselves.
    }
  }
}

/** Provides the names that the page uses. @returns undefined if the test is skipped because something is missing */
async function names(context: TestContext, name: string): Promise<Readonly<Record<string, string>> | undefined> {
  const run = path.join(folder, name)
  const disk = path.join(run, 'disk.img')
  mkdirSync(run)
  mkdirSync(programs, { recursive: true })
  install('outboard', { command: process.execPath, args: [MAIN], env: {} })
  install('qemu-system-x86_64', qemu().program)
  try {
    await makeBootableImage(disk, 'by=hand')
  } catch (error) {
    if (!(error instanceof ImageToolsMissing)) throw error
    context.skip(error.message)
    return undefined
  }
  return { RUN: run, DISK: disk, ACCEL: 'tcg' }
}

async function sockets(devices: string, { RUN = '' }: Readonly<Record<string, string>>): Promise<void> {
  for (const [, name] of devices.matchAll(/--socket-path=\$RUN\/(\S+)/g)) {
    await until(`there is ${name}`, () => existsSync(path.join(RUN, name)))
  }
}

test('the commands of the page for a disk boot a guest from it', { skip }, async (context) => {
  const given = await names(context, 'disk')
  if (!given) return
  const [device, machine] = commandsOf('A disk')
  const first = new Terminal(device, given)
  await sockets(device, given)
  const second = new Terminal(machine, given)
  try {
    await second.shows(/outboard: devices ready/)
    assert.match(second.output, /GRUB: booting from the disk/)
    assert.match(first.output, /front-end connected/)
  } finally {
    second.close()
    first.close()
  }
})

test('the commands of the page for a whole machine give its guest every device', { skip }, async (context) => {
  const given = await names(context, 'machine')
  if (!given) return
  const [devices, machine] = commandsOf('A whole machine')
  const first = new Terminal(devices, given)
  await sockets(devices, given)
  const second = new Terminal(machine, given)
  try {
    await second.shows(/outboard: devices ready/)
    await first.shows(/~ # /)
    first.type(
      'ls /dev/vda /dev/hwrng /dev/dri/card0; cat /sys/class/input/input*/name /sys/class/misc/hw_random/rng_current\r',
    )
    for (const proof of [
      /^\/dev\/dri\/card0 +\/dev\/hwrng +\/dev\/vda\r/m,
      /^Outboard keyboard\r/m,
      /^Outboard tablet\r/m,
    ])
      await first.shows(proof)
    await first.shows(/^virtio_rng\.0\r/m)
    first.type('poweroff\r')
    await second.shows(/reboot: Power down/)
  } finally {
    second.close()
    first.close()
  }
})
