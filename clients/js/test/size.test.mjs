import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { bundle } from '../scripts/build.mjs'

// Bytes, minified and gzipped. The core loads events.js only where sockets do not pass.
const most = { index: { 'index.js': 4096, 'events.js': 700 }, react: { 'react.js': 717 }, offline: { 'offline.js': 3072 } }

for (const [entry, files] of Object.entries(most)) {
  test(`the size of ${entry}`, async t => {
    const built = await bundle(entry, { minify: true })
    assert.deepEqual([...built.keys()].sort(), Object.keys(files).sort())
    for (const [name, limit] of Object.entries(files)) {
      const size = gzipSync(built.get(name), { level: 9 }).length
      t.diagnostic(`${name}: ${built.get(name).length} bytes minified, ${size} gzipped, at most ${limit}`)
      assert.ok(size <= limit, `${name} has ${size} bytes, more than ${limit}`)
    }
  })
}
