import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { createReactor } from './create-reactor.ts'
import { StopSignal, stopAt } from './stop-signal.ts'
import { KINDS } from './testing/kinds.ts'

/** Program with a reactor that waits only for the signal that `setUp` creates. */
const program = (kind: string, setUp: string) => `
  import { workerData } from 'node:worker_threads'
  import { createReactor } from '${new URL('create-reactor.js', import.meta.url)}'
  import { StopSignal, stopAt } from '${new URL('stop-signal.js', import.meta.url)}'
  const reactor = createReactor({ prefer: '${kind}' })
  ${setUp}
  await reactor.run()
  watch.close()
  reactor.close()
  console.log('stopped')
`

for (const { kind, skip } of KINDS) {
  test(`another thread stops a sleeping reactor: ${kind}`, { skip }, async () => {
    const stop = StopSignal.create()
    const source = program(kind, 'const watch = stopAt(workerData, reactor); console.log("running")')
    const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`)
    const worker = new Worker(url, { workerData: stop.fd, stdout: true })
    const lines: string[] = []
    worker.stdout.setEncoding('utf8').on('data', (text) => {
      lines.push(text)
      if (text.includes('running')) stop.raise()
    })
    await once(worker, 'exit')
    assert.equal(lines.join(''), 'running\nstopped\n')
    stop.close()
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal} stops a reactor in the main thread, and the process exits with code 0: ${kind}`, {
      skip,
    }, async () => {
      const setUp = `
        const stop = StopSignal.create()
        stop.onProcessSignals(['SIGTERM', 'SIGINT'])
        const watch = stopAt(stop.fd, reactor)
        reactor.timer(0, () => console.log('running'))`
      const child = spawn(process.execPath, ['--input-type=module', '-e', program(kind, setUp)], { stdio: 'pipe' })
      let output = ''
      child.stdout.setEncoding('utf8').on('data', (text) => {
        output += text
        if (text.includes('running')) child.kill(signal)
      })
      const [code] = await once(child, 'exit')
      assert.equal(code, 0)
      assert.equal(output, 'running\nstopped\n')
    })
  }

  test(`a promise of a signal handler stops a sleeping reactor: ${kind}`, { skip }, async () => {
    const setUp = `
      process.on('SIGTERM', () => void Promise.resolve().then(() => {}).then(() => reactor.stop()))
      const watch = reactor.timer(0, () => console.log('running'))`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program(kind, setUp)], { stdio: 'pipe' })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text
      if (text.includes('running')) child.kill()
    })
    const [code] = await once(child, 'exit')
    assert.equal(code, 0)
    assert.equal(output, 'running\nstopped\n')
  })

  test(`a raised signal stops every later reactor: ${kind}`, { skip }, async () => {
    const stop = StopSignal.create()
    stop.raise()
    for (let i = 0; i < 2; i++) {
      const reactor = createReactor({ prefer: kind })
      const watch = stopAt(stop.fd, reactor)
      await reactor.run()
      watch.close()
      reactor.close()
    }
    stop.close()
  })
}
