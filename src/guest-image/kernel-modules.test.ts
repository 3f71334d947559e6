import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  aliasTable,
  dependencyTable,
  type ModuleInfo,
  moduleName,
  readModuleInfo,
  withDependencies,
  withoutSignature,
} from './kernel-modules.ts'
import { elf64File, elfFile } from './testing/elf-file.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

function info(name: string, ...dependencies: readonly string[]): ModuleInfo {
  return { name, dependencies, aliases: [] }
}

const GPU = [
  info('virtio_gpu', 'virtio', 'virtio_ring', 'drm', 'drm_shmem_helper'),
  info('virtio', 'virtio_ring'),
  info('virtio_ring'),
  info('drm_shmem_helper', 'drm'),
  info('drm'),
]
const find = (name: string): ModuleInfo | undefined => GPU.find((module) => module.name === name)

test('dependencies and aliases of a module are read', () => {
  const entries = 'alias=virtio:d00000010v*\0alias=gpu\0depends=drm,drm-shmem-helper,virtio\0name=virtio_gpu\0'
  const sections = [
    { name: '.text', content: encode('depends=nothing\0') },
    { name: '.modinfo', content: encode(entries) },
  ]
  for (const module of [elfFile({ sections }), elf64File(sections)]) {
    assert.deepEqual(readModuleInfo('virtio_gpu', module), {
      name: 'virtio_gpu',
      dependencies: ['drm', 'drm_shmem_helper', 'virtio'],
      aliases: ['virtio:d00000010v*', 'gpu'],
    })
  }
  assert.deepEqual(
    readModuleInfo('drm', elfFile({ sections: [{ name: '.modinfo', content: encode('depends=\0') }] })),
    {
      name: 'drm',
      dependencies: [],
      aliases: [],
    },
  )
  assert.throws(() => readModuleInfo('none', elfFile({})), /no \.modinfo section/)
  assert.throws(() => readModuleInfo('none', encode('no module at all')), /not a little-endian ELF/)
})

test('the name of a module is that of its file, with underscores', () => {
  assert.equal(moduleName('drivers/char/hw_random/virtio-rng.ko'), 'virtio_rng')
  assert.equal(moduleName('drivers/char/hw_random/virtio-rng.ko.xz'), 'virtio_rng')
})

test('each module is listed once, after its dependencies', () => {
  assert.deepEqual(
    withDependencies(['virtio_gpu', 'virtio'], find).map(({ name }) => name),
    ['virtio_ring', 'virtio', 'drm', 'drm_shmem_helper', 'virtio_gpu'],
  )
})

test('random modules are listed after their dependencies', () => {
  const graph = fc.array(fc.uniqueArray(fc.nat(15), { maxLength: 4 }), { minLength: 1, maxLength: 16 })
  fc.assert(
    fc.property(graph, (edges) => {
      // A module depends only on earlier ones: the kernel's build has no cycles.
      const all = edges.map((to, i) => info(`m${i}`, ...to.filter((j) => j < i).map((j) => `m${j}`)))
      const wanted = all.map(({ name }) => name).reverse()
      const ordered = withDependencies(wanted, (name) => all.find((module) => module.name === name))
      assert.equal(new Set(ordered).size, all.length)
      ordered.forEach(({ dependencies }, i) => {
        const before = ordered.slice(0, i).map(({ name }) => name)
        for (const dependency of dependencies) assert.ok(before.includes(dependency))
      })
    }),
  )
})

test('the error about a missing module names it and the module that needs it', () => {
  assert.throws(
    () => withDependencies(['a'], (name) => (name === 'a' ? info('a', 'b') : undefined)),
    /no module b, which a needs/,
  )
})

test('the tables of modprobe list dependencies in reverse order, and every alias', () => {
  assert.equal(
    dependencyTable(GPU),
    'virtio_gpu.ko: drm_shmem_helper.ko drm.ko virtio.ko virtio_ring.ko\n' +
      'virtio.ko: virtio_ring.ko\nvirtio_ring.ko:\ndrm_shmem_helper.ko: drm.ko\ndrm.ko:\n',
  )
  assert.equal(
    aliasTable([{ name: 'ext4', dependencies: [], aliases: ['fs-ext4', 'fs-ext2'] }, info('drm')]),
    'alias fs-ext4 ext4\nalias fs-ext2 ext4\n',
  )
})

test('a signature is removed, and a module without one stays unchanged', () => {
  const code = encode('the module')
  const signature = [...encode('signature bytes'), 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 15]
  const signed = Uint8Array.from([...code, ...signature, ...encode('~Module signature appended~\n')])
  assert.deepEqual(withoutSignature(signed), code)
  assert.deepEqual(withoutSignature(code), code)
  assert.throws(() => withoutSignature(signed.subarray(12)), /signature is larger/)
})
