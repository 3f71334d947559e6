import assert from 'node:assert/strict'
import { test } from 'node:test'
import { build } from 'esbuild'

for (const entry of ['index', 'testing']) {
  test(`a browser can load the package’s entry '${entry}': all it needs is in its bundle`, async () => {
    const { errors, warnings, outputFiles, metafile } = await build({
      entryPoints: [`${import.meta.dirname}/${entry}.js`],
      bundle: true,
      platform: 'browser',
      format: 'esm',
      write: false,
      metafile: true,
      logLevel: 'silent',
    })
    assert.deepEqual([errors, warnings], [[], []])
    assert.equal(outputFiles.length, 1)
    const imports = Object.values(metafile.inputs).flatMap((input) => input.imports)
    assert.deepEqual(
      imports.filter(({ external }) => external),
      [],
    )
  })
}
