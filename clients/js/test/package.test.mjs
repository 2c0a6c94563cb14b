import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = name => readFileSync(root + name, 'utf8')

test('the package has what it exports, and no more', () => {
  const [{ files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
  const packed = files.map(({ path }) => path).sort()
  assert.deepEqual(packed, [
    'LICENSE', 'README.md', 'dist/error.d.ts', 'dist/events.js', 'dist/index.d.ts', 'dist/index.js', 'dist/offline.d.ts', 'dist/offline.js',
    'dist/react.d.ts', 'dist/react.js', 'dist/types.d.ts', 'package.json',
  ])
  const { exports, dependencies, types } = JSON.parse(read('package.json'))
  assert.equal(dependencies, undefined)
  for (const file of [types, ...Object.values(exports).flatMap(entry => Object.values(entry))]) assert.ok(packed.includes(file.slice(2)), file)
  assert.equal(read('LICENSE'), read('../../LICENSE'))
})

test('the lock names no host, and a hash for all', () => {
  const { packages } = JSON.parse(read('package-lock.json'))
  for (const [path, { resolved, integrity }] of Object.entries(packages)) {
    assert.equal(resolved, undefined, path)
    assert.ok(path === '' || integrity, path)
  }
})

test('the copy for the explorer is what is built', () => {
  assert.ok(existsSync(root + '../../server/ui/static/vendor/oolith.js'))
  execFileSync(process.execPath, ['scripts/build.mjs', 'vendor', '--check'], { cwd: root, stdio: 'inherit' })
})
