// The layers of docs/architecture.md: imports point down only.
const LAYERS = [
  { name: 'pending', path: '^src/pending/', may: [] },
  { name: 'memory', path: '^src/memory/', may: ['pending'] },
  { name: 'virtqueue', path: '^src/virtqueue/', may: ['pending', 'memory'] },
  { name: 'virtio', path: '^src/virtio/', may: ['pending', 'memory', 'virtqueue'] },
  { name: 'devices', path: '^src/devices/', may: ['pending', 'memory', 'virtqueue', 'virtio'] },
  { name: 'pci', path: '^src/pci/', may: ['pending', 'memory'] },
  { name: 'host', path: '^src/host/', may: ['pending', 'memory', 'devices'] },
  { name: 'transport', path: '^src/transport/', may: ['pending', 'memory', 'virtqueue', 'virtio', 'pci', 'host'] },
  { name: 'machine', path: '^src/machine/', may: ['devices', 'virtio'] },
  { name: 'console', path: '^src/console/', may: ['machine'] },
  { name: 'web', path: '^src/web/', may: ['console', 'machine'] },
  {
    name: 'engines',
    path: '^src/engines/',
    may: ['pending', 'memory', 'virtqueue', 'virtio', 'devices', 'pci', 'transport', 'host', 'machine'],
  },
]
const BROWSER_SAFE = '^src/(pending|memory|virtqueue|virtio|devices|pci|transport/virtio-pci|web)/'

module.exports = {
  forbidden: [
    ...LAYERS.map((layer) => ({
      name: `${layer.name}-imports-down-only`,
      severity: 'error',
      from: { path: layer.path, pathNot: '\\.test\\.ts$' },
      to: {
        path: '^src/',
        pathNot: [layer.path, ...layer.may.map((name) => LAYERS.find((other) => other.name === name).path)],
      },
    })),
    {
      name: 'browser-safe',
      comment: 'These layers run in a browser too: what they need from the host reaches them as an interface.',
      severity: 'error',
      from: { path: BROWSER_SAFE, pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'product-imports-no-tests',
      severity: 'error',
      from: { path: '^src/', pathNot: '\\.test\\.ts$' },
      to: { path: '^(test|bench|scripts)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'default', 'types'] },
  },
}
