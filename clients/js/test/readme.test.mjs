import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import { browser, origin, program, skip } from './browser.mjs'
import { client, serve } from './helper.mjs'

const run = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))
const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
const blocks = [...readme.matchAll(/^```(js|jsx|ts)\n(.*?)^```$/gms)].map(([, kind, code]) => ({ kind: code.includes('oolith/offline') ? 'offline' : kind, code }))
const of = kind => blocks.filter(block => block.kind === kind).map(({ code }) => code)

/** Writes a file where `oolith` is found, for as long as the test runs. */
async function file(t, name, code) {
  const directory = await mkdtemp(join(root, 'test-'))
  t.after(() => rm(directory, { recursive: true }))
  await writeFile(join(directory, name), code)
  return join(directory, name)
}

test('the examples of the README run', async t => {
  assert.equal(of('js').length, 4)
  const { url } = await serve(t)
  await client(t, url).set('places/lisbon', { name: 'Lisbon' })
  for (const code of of('js')) {
    const ends = code.includes('store.close()') ? code : code + '\nstore.close()\n'
    const { stdout } = await run(process.execPath, [await file(t, 'example.mjs', ends.replaceAll('http://127.0.0.1:8800', url))])
    if (code.includes('condition-failed')) assert.match(stdout, /there is \{ theme: 'dark' \} at \d+/)
    if (code.includes('places.close()')) assert.match(stdout, /all there is: 1\nlive\nplaces\/faro \{ name: 'Faro' \}\n2 \{ name: 'Faro' \} live\nclosed/)
  }
})

test('the types of the README hold, and wrong ones do not', async t => {
  assert.equal(of('ts').length, 1)
  const tsc = (path, ...more) => run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--ignoreConfig', '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,dom', '--types', '', path, ...more])
  await tsc(await file(t, 'example.mts', of('ts')[0]))
  const wrong = [
    `store.live<{ name: string }>('a/*').items[0]!.data.nam`, `store.set('a')`, `store.batch([{ op: 'jump', path: 'a' }])`,
    `store.page('a/*', { order: 'up' })`, `(await store.get<number>('a')).data`, `store.live('a', event => event.changes)`,
  ]
  const code = `import { connect } from 'oolith'\nconst store = connect('http://x')\n` + wrong.map(line => `// @ts-expect-error\n;${line}\n`).join('') +
    `const item = await store.get<number>('a')\nif (item) { const n: number = item.data + 1 }\n`
  await tsc(await file(t, 'wrong.mts', code))
})

test('the examples of the README for browsers run', { skip }, async t => {
  assert.deepEqual([of('jsx').length, of('offline').length], [1, 1])
  const files = { '/': '<!doctype html><link rel="icon" href="data:,"><body></body><script type="module" src="page.js"></script>' }
  const page = await origin(t, files)
  const { url } = await serve(t, '--origin', page)
  const plain = client(t, url)
  await plain.set('places/lisbon', { name: 'Lisbon' })
  const tab = await (await browser(t)).newPage()
  files['/page.js'] = await program({ contents: of('jsx')[0].replaceAll('http://127.0.0.1:8800', url) })
  await tab.goto(page)
  await tab.getByText('connected, live').waitFor()
  await tab.getByText('Lisbon', { exact: true }).waitFor()
  await plain.set('places/faro', {})
  await tab.getByText('places/faro').waitFor()
  files['/page.js'] = await program({ contents: of('offline')[0].replaceAll('http://127.0.0.1:8800', url) + 'window.done = store.pending.length === 0' })
  await tab.goto(page)
  await tab.waitForFunction(() => window.done)
  assert.deepEqual((await plain.page('notes/*')).items.map(item => item.data), [{ text: 'on the train' }])
})
