import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runTool, ToolError } from './tool.ts'

test('the output of a tool is returned, and its status lines are reported', async () => {
  const lines: string[] = []
  const script = 'echo out; echo noise >&2; printf "one\\ntwo\\nrest" >&3'
  assert.equal(
    await runTool('sh', ['-c', script], { signal: undefined, onStatus: (line) => lines.push(line) }),
    'out\n',
  )
  assert.deepEqual(lines, ['one', 'two', 'rest'])
})

test('the error about a failed tool quotes its error output', async () => {
  const failing = runTool('sh', ['-c', 'echo "W: a warning" >&2; echo "E: it is broken" >&2; echo more >&2; exit 3'], {
    signal: undefined,
  })
  await assert.rejects(failing, (error) => {
    assert.ok(error instanceof ToolError && !error.missing)
    assert.equal(error.message, 'sh ended with 3: it is broken')
    return true
  })
})

test('the error about a missing tool differs from that about a failed one', async () => {
  await assert.rejects(runTool('outboard-no-such-tool', [], { signal: undefined }), (error) => {
    return error instanceof ToolError && error.missing && error.message === 'outboard-no-such-tool is not installed'
  })
})

test('aborting a tool kills all its processes before the reason is thrown', async () => {
  const controller = new AbortController()
  // Its child keeps the output open: the call cannot end before the child.
  const script = 'sleep 600 & echo started >&3; wait'
  const running = runTool('sh', ['-c', script], {
    signal: controller.signal,
    onStatus: () => controller.abort(new Error('stop it')),
  })
  await assert.rejects(running, /stop it/)
  await assert.rejects(runTool('sh', ['-c', 'exit 0'], { signal: controller.signal }), /stop it/)
})
