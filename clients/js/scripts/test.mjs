// Builds the server, and runs the tests against it: all, or those of the files that are named.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const scratch = mkdtempSync(join(tmpdir(), 'oolith-js-'))
const server = join(scratch, process.platform === 'win32' ? 'oolith.exe' : 'oolith')
const files = process.argv.length > 2 ? process.argv.slice(2) : readdirSync(join(root, 'test')).filter(name => name.endsWith('.test.mjs')).map(name => `test/${name}`)
try {
  execFileSync('go', ['build', '-o', server, './cmd/oolith'], { cwd: join(root, '../..'), stdio: 'inherit' })
  const { status } = spawnSync(process.execPath, ['--test', '--test-reporter=spec', '--test-timeout=120000', ...files], {
    cwd: root, stdio: 'inherit', env: { ...process.env, OOLITH: server, TMPDIR: scratch },
  })
  process.exitCode = status ?? 1
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
