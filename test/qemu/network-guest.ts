import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import { findGuestImage } from '../../src/guest-image/guest-image.ts'
import { qemu } from './guest.ts'

const MEMORY = '512M'

/** Guest that is started by QEMU's command line, with a shell on QEMU's console device. */
export class GuestByHand {
  readonly #qemu: ChildProcess
  #said = ''
  #errors = ''
  #commands = 0
  #shell: Promise<void> | undefined

  /** @param args further arguments of QEMU, such as devices */
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

  /** Executes a command after the shell started. @returns its output */
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

  /** Disables prompt and line editing of the shell, and kernel messages on the console. */
  async #plainShell(): Promise<void> {
    await this.#printedBefore('~ # ')
    // The input is echoed, so it must not contain the awaited word.
    this.#write(`stty -echo; echo rea''dy; while read -r line; do eval "$line"; done`)
    await this.#printedBefore('ready\n')
  }

  #write(line: string): void {
    this.#qemu.stdin?.write(`${line}\n`)
  }

  /** Consumes the output up to and including a text. */
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
