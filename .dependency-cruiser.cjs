// The layers of docs/architecture.md: imports point down only.
const GROUND = ['pending', 'memory', 'bus', 'wire', 'snapshot']
const RINGS = [...GROUND, 'virtqueue']
const DEVICES = [...RINGS, 'virtio', 'services', 'devices']
const HOST = [...GROUND, 'log', 'services', 'host']
const BELOW_CATALOGUE = [...DEVICES, ...HOST, 'pci', 'backends', 'machine', 'transport', 'sharing', 'guest-image']
const LAYERS = [
  { name: 'pending', path: '^src/pending/', may: [] },
  { name: 'log', path: '^src/log/', may: [] },
  { name: 'wire', path: '^src/wire/', may: [] },
  { name: 'bus', path: '^src/bus/', may: ['memory', 'log'] },
  { name: 'memory', path: '^src/memory/', may: ['pending'] },
  { name: 'snapshot', path: '^src/snapshot/', may: ['pending', 'wire'] },
  { name: 'virtqueue', path: '^src/virtqueue/', may: GROUND },
  { name: 'virtio', path: '^src/virtio/', may: RINGS },
  { name: 'pci', path: '^src/pci/', may: GROUND },
  { name: 'services', path: '^src/services/', may: ['memory'] },
  { name: 'devices', path: '^src/devices/', may: DEVICES },
  { name: 'host', path: '^src/host/', may: ['log', 'memory', 'wire'] },
  { name: 'backends', path: '^src/backends/', may: HOST },
  { name: 'machine', path: '^src/machine/', may: DEVICES },
  { name: 'transport', path: '^src/transport/', may: [...RINGS, ...HOST, 'virtio', 'pci', 'backends'] },
  { name: 'sharing', path: '^src/sharing/', may: [...HOST, 'backends'] },
  { name: 'guest-image', path: '^src/guest-image/', may: ['log', 'host'] },
  { name: 'catalogue', path: '^src/catalogue/', may: BELOW_CATALOGUE },
  { name: 'device-process', path: '^src/device-process/', may: [...BELOW_CATALOGUE, 'catalogue'] },
  { name: 'engines', path: '^src/engines/', may: [...BELOW_CATALOGUE, 'catalogue', 'device-process'] },
  { name: 'console', path: '^src/console/', may: ['machine', 'services', 'log', 'wire'] },
  { name: 'web', path: '^src/web/', may: ['console', 'machine', 'services'] },
]
const BROWSER_SAFE =
  '^src/(pending|log|bus|memory|wire|snapshot|virtqueue|virtio|pci|services|devices|machine|transport/virtio-pci|web)/'

module.exports = {
  forbidden: [
    ...LAYERS.map((layer) => ({
      name: `${layer.name}-imports-down-only`,
      severity: 'error',
      // Rigs of tests may use what drives their subject.
      from: { path: layer.path, pathNot: '\\.test\\.ts$|/testing/' },
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
      to: { circular: true },
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
