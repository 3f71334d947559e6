import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import { findGuestImage } from '../../src/guest-image/guest-image.ts'
import { qemu } from './guest.ts'

const MEMORY = '512M'

/** A guest as somebody starts it by hand, with a shell on QEMU's own console device. */
export class GuestByHand {
  readonly #qemu: ChildProcess
  #said = ''
  #errors = ''
  #commands = 0
  #shell: Promise<void> | undefined

  /** @param args devices, and what else there is to say */
  constructor(args: readonly string[]) {
    const image = findGuestImage(AMD64_IMAGE)
    if (!image) throw new Error('no guest image for QEMU')
    const { command, args: before, env } = qemu().program
    const words = [
      ...['-accel', 'tcg', '-cpu', 'max', '-machine', 'q35,memory-backend=mem', '-m', MEMORY],
      ...['-object', `memory-backend-memfd,id=mem,size=${MEMORY},share=on`],
      ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', image.commandLine],
      ...['-nodefaults', '-display', 'none', '-no-reboot', '-chardev', 'stdio,id=hvc0'],
      ...['-device', 'virtio-serial-pci', '-device', 'virtconsole,chardev=hvc0', ...args],
    ]
    this.#qemu = spawn(command, [...before, ...words], { env: { ...process.env, ...env }, stdio: 'pipe' })
    this.#qemu.stdout?.setEncoding('latin1').on('data', (text: string) => {
      this.#said += text.replaceAll('\r', '')
    })
    this.#qemu.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text
    })
  }

  /** Executes a command when the shell is there. @returns what it prints */
  async run(command: string): Promise<string> {
    this.#shell ??= this.#plainShell()
    await this.#shell
    const mark = `end-${++this.#commands}`
    this.#write(`${command}; echo ${mark}`)
    return await this.#printedBefore(`${mark}\n`)
  }

  async stop(): Promise<void> {
    if (this.#qemu.exitCode !== null) return
    this.#qemu.kill()
    await once(this.#qemu, 'exit')
  }

  /** A shell that neither prompts nor edits, and a console that shows nothing by itself. */
  async #plainShell(): Promise<void> {
    await this.#printedBefore('~ # ')
    // What is typed shows too, so it is not the word that is waited for.
    this.#write(`stty -echo; echo rea''dy; while read -r line; do eval "$line"; done`)
    await this.#printedBefore('ready\n')
  }

  #write(line: string): void {
    this.#qemu.stdin?.write(`${line}\n`)
  }

  /** Takes what it prints until the text, too. */
  async #printedBefore(text: string): Promise<string> {
    for (;;) {
      const at = this.#said.indexOf(text)
      if (at >= 0) {
        const before = this.#said.slice(0, at)
        this.#said = this.#said.slice(at + text.length)
        return before
      }
      if (this.#qemu.exitCode !== null) throw new Error(`QEMU ended: ${this.#errors}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}
