/** Content of a 32-bit ELF file for a test. */
export interface ElfParts {
  readonly entry?: number
  readonly segments?: readonly { readonly physicalAddress: number; readonly content: Uint8Array }[]
  readonly sections?: readonly { readonly name: string; readonly content: Uint8Array }[]
}

const HEADER = 52
const PROGRAM_HEADER = 32
const SECTION_HEADER = 40

export function elfFile({ entry = 0, segments = [], sections = [] }: ElfParts): Uint8Array {
  const names = `\0${[...sections.map(({ name }) => name), '.shstrtab'].map((name) => `${name}\0`).join('')}`
  const all = [...sections, { name: '.shstrtab', content: new TextEncoder().encode(names) }]
  const contents = [...segments.map(({ content }) => content), ...all.map(({ content }) => content)]
  const programs = HEADER
  const headers = programs + PROGRAM_HEADER * segments.length
  let at = headers + SECTION_HEADER * all.length
  const file = new Uint8Array(contents.reduce((size, content) => size + content.length, at))
  const view = new DataView(file.buffer)
  view.setUint32(0, 0x7f454c46)
  file.set([1, 1, 1], 4)
  view.setUint32(24, entry, true)
  view.setUint32(28, programs, true)
  view.setUint32(32, headers, true)
  view.setUint16(42, PROGRAM_HEADER, true)
  view.setUint16(44, segments.length, true)
  view.setUint16(46, SECTION_HEADER, true)
  view.setUint16(48, all.length, true)
  view.setUint16(50, all.length - 1, true)
  segments.forEach(({ physicalAddress, content }, i) => {
    const header = programs + PROGRAM_HEADER * i
    const fields = [1, at, 0xc000_0000 + physicalAddress, physicalAddress, content.length, content.length]
    fields.forEach((field, j) => {
      view.setUint32(header + 4 * j, field, true)
    })
    file.set(content, at)
    at += content.length
  })
  all.forEach(({ name, content }, i) => {
    const header = headers + SECTION_HEADER * i
    view.setUint32(header, names.indexOf(`\0${name}\0`) + 1, true)
    view.setUint32(header + 16, at, true)
    view.setUint32(header + 20, content.length, true)
    file.set(content, at)
    at += content.length
  })
  return file
}

/** Returns a 64-bit ELF file that consists of sections only. */
export function elf64File(sections: readonly { readonly name: string; readonly content: Uint8Array }[]): Uint8Array {
  const names = `\0${[...sections.map(({ name }) => name), '.shstrtab'].map((name) => `${name}\0`).join('')}`
  const all = [...sections, { name: '.shstrtab', content: new TextEncoder().encode(names) }]
  let at = 64 + 64 * all.length
  const file = new Uint8Array(all.reduce((size, { content }) => size + content.length, at))
  const view = new DataView(file.buffer)
  view.setUint32(0, 0x7f454c46)
  file.set([2, 1, 1], 4)
  view.setUint32(40, 64, true)
  view.setUint16(60, all.length, true)
  view.setUint16(62, all.length - 1, true)
  all.forEach(({ name, content }, i) => {
    const header = 64 + 64 * i
    view.setUint32(header, names.indexOf(`\0${name}\0`) + 1, true)
    view.setUint32(header + 24, at, true)
    view.setUint32(header + 32, content.length, true)
    file.set(content, at)
    at += content.length
  })
  return file
}
