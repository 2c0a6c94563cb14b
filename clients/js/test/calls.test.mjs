import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { connect, OolithError } from 'oolith'
import { client, oolith, proxy, serve } from './helper.mjs'

/** Demands that a call is refused, and returns its error. */
async function refused(call, kind, status = 0) {
  const error = await call.then(value => assert.fail(`it is not refused: ${JSON.stringify(value)}`), error => error)
  assert.ok(error instanceof OolithError, String(error?.stack ?? error))
  assert.deepEqual([error.kind, error.status], [kind, status], error.message)
  return error
}

test('every call', async t => {
  const { url } = await serve(t)
  const store = client(t, url + '/')
  assert.equal(store.url, url)
  assert.equal(await store.get('places/lisbon'), undefined)
  const made = await store.set('places/lisbon', { name: 'Lisbon', trams: 57 })
  assert.equal(made.path, 'places/lisbon')
  assert.equal(made.index, 'lisbon')
  const item = await store.get('places/lisbon')
  assert.deepEqual({ ...item, created: 0 }, { ...made, created: 0, updated: 0, data: { name: 'Lisbon', trams: 57 } })
  assert.ok(Math.abs(item.created / 1e6 - Date.now()) < 60_000)

  const pushed = await store.push('log/*', 'hello')
  assert.match(pushed.path, /^log\/[0-9a-f]{16}$/)
  assert.equal((await store.get(pushed.path)).data, 'hello')

  await store.merge('places/lisbon', { trams: null, river: 'Tejo' })
  assert.deepEqual((await store.get('places/lisbon')).data, { name: 'Lisbon', river: 'Tejo' })
  await store.merge('places/porto', { name: 'Porto' })
  const patched = await store.patch('places/porto', [{ op: 'test', path: '/name', value: 'Porto' }, { op: 'add', path: '/bridges', value: 6 }])
  const porto = await store.get('places/porto')
  assert.deepEqual([porto.data, porto.etag, porto.revision], [{ name: 'Porto', bridges: 6 }, patched.etag, patched.revision])

  for (const value of [null, false, 0, '', [], {}, 'a\u2028b\u0000"\\', 1e300, [[[{ a: [null] }]]]]) {
    await store.set('value', value)
    assert.deepEqual((await store.get('value')).data, value)
  }

  const results = await store.batch([
    { op: 'set', path: 'batch/a', data: 1, ifNoneMatch: '*' }, { op: 'push', path: 'batch-log/*', data: 2, ttl: '7d' },
    { op: 'merge', path: 'places/lisbon', data: { hills: 7 } }, { op: 'patch', path: 'places/porto', data: [{ op: 'remove', path: '/bridges' }] },
    { op: 'delete', path: 'value' },
  ])
  assert.deepEqual(results.map(result => result.status), [201, 201, 200, 200, 204])
  assert.equal(results[0].etag, (await store.get('batch/a')).etag)
  assert.equal(results[4].etag, undefined)
  assert.ok((await store.get(results[1].path)).expires > Date.now() * 1e6)

  assert.equal(await store.del('batch/a'), true)
  assert.equal(await store.del('batch/a'), false)
  assert.equal(await store.del('batch-log/*'), true)
  assert.equal(await store.del('batch-log/*'), true)
  assert.deepEqual((await store.page('batch-log/*')).items, [])
})

test('pages', async t => {
  const { url } = await serve(t)
  const store = client(t, url)
  await store.batch(Array.from({ length: 25 }, (_, i) => ({ op: 'set', path: `list/${i}`, data: i })))
  const all = []
  let cursor
  do {
    const page = await store.page('list/*', { limit: 10, cursor })
    assert.match(page.token, /^[0-9a-f]{16}\.\d+$/)
    all.push(...page.items.map(item => item.data))
    cursor = page.next
  } while (cursor)
  assert.deepEqual(all, Array.from({ length: 25 }, (_, i) => 24 - i))
  const up = await store.page('list/*', { order: 'asc', limit: 3, at: 2 })
  assert.deepEqual(up.items.map(item => item.path), ['list/2', 'list/3', 'list/4'])
  assert.equal(up.items[0].etag, (await store.get('list/2')).etag)
  assert.equal((await store.page('list/*', { from: new Date(0), to: new Date('2001-01-01') })).items.length, 0)
  assert.equal((await store.page('list/*', { from: new Date(0), to: '2100-01-01T00:00:00Z' })).items.length, 25)
  assert.equal((await refused(store.page('list/*', { cursor: 'x' }), 'invalid-parameter', 400)).problem.parameter, 'cursor')
})

test('conditions, and times to live', async t => {
  const { url } = await serve(t, '--require-if-match', 'config/*')
  const store = client(t, url)
  const first = await store.set('a', 1, { ifNoneMatch: '*' })
  const conflict = await refused(store.set('a', 2, { ifNoneMatch: '*' }), 'condition-failed', 412)
  assert.equal(conflict.problem.revision, first.revision)
  assert.equal(conflict.problem.object.data, 1)
  const second = await store.set('a', 2, { ifMatch: first.etag })
  await refused(store.merge('a', {}, { ifMatch: first.etag }), 'condition-failed', 412)
  await refused(store.patch('a', [], { ifMatch: first.etag }), 'condition-failed', 412)
  await refused(store.del('a', { ifMatch: first.etag }), 'condition-failed', 412)
  await refused(store.batch([{ op: 'set', path: 'b', data: 1 }, { op: 'delete', path: 'a', ifMatch: first.etag }]), 'condition-failed', 412)
  assert.equal(await store.get('b'), undefined)
  assert.equal((await store.get('a')).etag, second.etag)
  assert.equal(await store.del('a', { ifMatch: second.etag }), true)
  await refused(store.set('a', 1, { ifMatch: '*' }), 'condition-failed', 412)
  await store.set('config/a', 1)
  await refused(store.set('config/a', 2), 'condition-required', 428)

  await store.set('short', 1, { ttl: 90 })
  const left = (await store.get('short')).expires / 1e6 - Date.now()
  assert.ok(left > 60_000 && left <= 90_000, `${left} ms are left`)
  await store.set('short', 1, { ttl: '12h' })
  assert.ok((await store.get('short')).expires / 1e6 - Date.now() > 11 * 3600_000)
})

test('what is refused', async t => {
  const { url } = await serve(t)
  const store = client(t, url)
  for (const path of ['', '/', 'a/', '/a', 'a//b', '.', '..', 'a/../b', 'a/.', 'a b', 'a?b', 'a#b', 'ä', 'a%2fb', 'a\nb', 'a/*', '*']) {
    for (const call of [() => store.get(path), () => store.set(path, 1), () => store.merge(path, 1), () => store.patch(path, [])]) {
      assert.match((await refused(call(), 'invalid-path')).message, /expected a path/)
    }
  }
  for (const pattern of ['', 'a', 'a//*', '../*', 'a/*?x']) {
    await refused(store.page(pattern), 'invalid-path')
    await refused(store.push(pattern, 1), 'invalid-path')
  }
  assert.throws(() => store.live('a//b'), { kind: 'invalid-path' })
  await refused(store.del('a//b'), 'invalid-path')
  await refused(store.push('*/a', 1), 'invalid-path', 400)
  await refused(store.get('x'.repeat(2000)), 'invalid-path', 400)
  await refused(store.patch('none', [{ op: 'add', path: '/a', value: 1 }]), 'not-found', 404)
  await store.set('a', { n: 1 })
  assert.equal((await refused(store.patch('a', [{ op: 'test', path: '/n', value: 2 }]), 'patch-test-failed', 409)).problem.operation, 0)
  await refused(store.patch('a', [{ op: 'remove', path: '/m' }]), 'patch-does-not-apply', 409)
  await refused(store.patch('a', [{ op: 'jump' }]), 'invalid-patch', 400)
  assert.equal((await refused(store.batch([{ op: 'set', path: 'b', data: 1 }, { op: 'jump', path: 'c' }]), 'invalid-batch', 400)).problem.entry, 1)
  await refused(store.set('_oolith/a', 1), 'reserved-path', 403)
  await refused(store.set('a', 1, { ttl: 'soon' }), 'invalid-header', 400)
  const error = await refused(store.set('a', undefined), 'invalid-json', 400)
  assert.ok(error.requestId)
  assert.match(error.message, /^PUT \/a: 400 invalid-json: /)
  assert.deepEqual((await store.get('a')).data, { n: 1 })
})

test('tokens', async t => {
  const server = await serve(t, '--auth')
  const made = await oolith('token', 'create', '--name', 'reader', '--scope', 'read:open/*', '--store', `pebble:${server.directory}/data`)
  const token = /oolith_\S+/.exec(made)[0]
  await server.restart() // it reads the tokens once in a while, and at its start
  await refused(client(t, server.url).get('open/a'), 'unauthenticated', 401)
  let asked = 0
  for (const given of [token, () => (asked++, token), async () => token]) {
    const store = client(t, server.url, { token: given })
    assert.equal(await store.get('open/a'), undefined)
    await refused(store.get('closed/a'), 'forbidden', 403)
    await refused(store.set('open/a', 1), 'forbidden', 403)
  }
  assert.equal(asked, 3)
  const failing = client(t, server.url, { token: () => { throw new Error('no token today') } })
  await assert.rejects(failing.get('open/a'), /no token today/)
})

test('the hook that validates', async t => {
  const { url } = await serve(t)
  const plain = client(t, url)
  const store = client(t, url, {
    validate(path, data) {
      if (path.startsWith('n/') && typeof data !== 'number') throw new TypeError('expected a number')
      return path.startsWith('date/') && typeof data === 'string' ? new Date(data) : data
    },
  })
  const error = await refused(store.set('n/1', 'one'), 'invalid-data')
  assert.ok(error.cause instanceof TypeError)
  assert.match(error.message, /^n\/1: .*expected a number/)
  await refused(store.push('n/*', 'one'), 'invalid-data')
  await refused(store.batch([{ op: 'set', path: 'n/2', data: 2 }, { op: 'set', path: 'n/1', data: 'one' }]), 'invalid-data')
  assert.equal(await plain.get('n/2'), undefined)
  await plain.set('n/1', 'one')
  await refused(store.get('n/1'), 'invalid-data')
  await refused(store.page('n/*'), 'invalid-data')
  await store.set('date/1', new Date(0))
  assert.deepEqual((await store.get('date/1')).data, new Date(0))
})

test('a write whose answer is lost is made once', async t => {
  const { url } = await serve(t)
  // The first answer to each request is cut off.
  let cuts = 0
  const seen = new Set()
  const between = await proxy(t, url, {
    pass(chunk, pair) {
      const key = /idempotency-key: (\S+)/i.exec(chunk.toString())?.[1]
      if (key && !seen.has(key)) {
        seen.add(key)
        cuts++
        pair.other.once('data', () => pair.cut())
      }
      return chunk
    },
  })
  const store = client(t, between.url)
  const plain = client(t, url)
  const pushed = await store.push('log/*', 1)
  assert.equal((await plain.page('log/*')).items.length, 1)
  assert.equal((await plain.get(pushed.path)).revision, pushed.revision)
  await store.set('n', { n: 0 })
  await store.patch('n', [{ op: 'test', path: '/n', value: 0 }, { op: 'replace', path: '/n', value: 1 }])
  assert.equal(await store.del('n'), true)
  assert.equal((await store.batch([{ op: 'push', path: 'log/*', data: 2 }, { op: 'push', path: 'log/*', data: 3 }])).length, 2)
  assert.equal((await plain.page('log/*')).items.length, 3)
  assert.equal(cuts, 5)
  // The same key again is the same write; with other data, it is refused.
  const twice = await plain.push('log/*', 4, { idempotencyKey: 'one' })
  assert.equal((await plain.push('log/*', 4, { idempotencyKey: 'one' })).path, twice.path)
  await refused(plain.push('log/*', 5, { idempotencyKey: 'one' }), 'idempotency-key-reused', 422)
})

test('no answer', async t => {
  const { url } = await serve(t)
  let connections = 0
  const between = await proxy(t, url, { refuse: () => ++connections > 0 })
  const error = await refused(client(t, between.url, { retries: 2 }).get('a'), 'network')
  assert.ok(error.cause)
  assert.equal(connections, 3)
  connections = 0
  await refused(client(t, between.url, { retries: 0 }).set('a', 1), 'network')
  assert.equal(connections, 1)
  // A delete by a pattern that may have been made is not sent again: it could delete more.
  connections = 0
  await refused(client(t, between.url).del('a/*'), 'network')
  assert.equal(connections, 1)
})

test('a server that is busy, and proxies', async t => {
  const answers = []
  const seen = []
  const server = createServer((request, response) => {
    seen.push(request.headers['idempotency-key'])
    const [status, headers, body] = answers.shift()
    response.writeHead(status, headers).end(body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const waits = []
  const store = client(t, `http://127.0.0.1:${server.address().port}`, { backoff: failures => (waits.push(failures), 1) })
  const problem = kind => [{ 'content-type': 'application/problem+json' }, JSON.stringify({ type: `https://x#${kind}`, detail: 'busy' })]
  const fine = [200, { etag: '"ab-1"', 'content-type': 'application/json' }, '{"index":"a"}']
  answers.push([503, ...problem('unavailable')], [429, ...problem('too-many-requests')], [502, {}, 'Bad Gateway'], fine)
  assert.equal((await store.set('a', 1)).revision, 1)
  assert.deepEqual(waits, [0, 1, 2])
  assert.equal(new Set(seen).size, 1)
  // What is not exact is sent again only where nothing was made.
  answers.push([503, ...problem('unavailable')], [502, {}, '<html>Bad Gateway</html>'])
  assert.match((await refused(store.del('a/*'), '', 502)).message, /Bad Gateway/)
  answers.push([503, ...problem('read-only')])
  await refused(store.set('a', 1), 'read-only', 503)
  answers.push([429, { ...problem('too-many-requests')[0], 'retry-after': '0' }, problem('too-many-requests')[1]], fine)
  await store.set('a', 1)
  assert.equal(answers.length, 0)
})

test('a signal ends a call', async t => {
  const { url } = await serve(t)
  const between = await proxy(t, url, { pass: () => undefined })
  const store = client(t, between.url)
  const gone = new AbortController()
  const call = store.get('a', { signal: gone.signal })
  gone.abort(new Error('no more'))
  await assert.rejects(call, /no more/)
  await assert.rejects(store.set('a', 1, { signal: gone.signal }), /no more/)
  // Also while it waits to be sent again.
  const waiting = new AbortController()
  const down = client(t, 'http://127.0.0.1:1', { backoff: () => (queueMicrotask(() => waiting.abort(new Error('not any more'))), 1e6) })
  await assert.rejects(down.get('a', { signal: waiting.signal }), /not any more/)
  // An attempt has its time.
  await refused(client(t, between.url, { timeout: 20, retries: 1 }).get('a'), 'network')
})

test('the address', () => {
  assert.equal(connect('https://db.example.com/below/').url, 'https://db.example.com/below')
  assert.throws(() => connect('nowhere'), TypeError)
})
