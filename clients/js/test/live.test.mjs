import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { WebSocketServer } from 'ws'
import { client, gather, oolith, proxy, random, serve } from './helper.mjs'

const transports = { socket: {}, events: { WebSocket: null } }
const data = live => Object.fromEntries(live.items.map(item => [item.path, item.data]))

for (const [transport, options] of Object.entries(transports)) {
  test(`${transport}: the state, then every change`, async t => {
    const { url } = await serve(t)
    const store = client(t, url, options)
    assert.equal(store.status.state, 'idle')
    await store.batch([{ op: 'set', path: 'a/1', data: 1 }, { op: 'set', path: 'a/2', data: 2 }, { op: 'set', path: 'b/1', data: 1 }])
    const told = gather()
    const live = store.live('a/*', told.listener)
    const one = store.live('b/1')
    assert.deepEqual([live.status, live.items.length], ['waiting', 0])
    await live.ready
    await one.ready
    assert.deepEqual(live.items.map(item => item.path), ['a/2', 'a/1'])
    assert.deepEqual(live.items[0], await store.get('a/2'))
    assert.equal(live.get('a/1').data, 1)
    await told.until(event => event.type === 'status' && event.status === 'live')
    assert.equal(store.status.transport, transport)
    const before = live.items
    assert.equal(live.items, before)
    const [first] = before.slice(1)
    await store.set('a/1', 'one')
    await told.when(() => live.get('a/1').data === 'one')
    assert.notEqual(live.items, before)
    assert.equal(before[1], first)
    assert.deepEqual(told.events.at(-1).changes, [{ type: 'set', path: 'a/1', item: live.get('a/1'), before: first }])
    // One commit is one event.
    const seen = told.events.length
    await store.batch([{ op: 'push', path: 'a/*', data: 3 }, { op: 'delete', path: 'a/2' }, { op: 'set', path: 'c/1', data: 1 }])
    await told.when(() => told.events.length > seen)
    assert.deepEqual(told.events[seen].changes.map(change => [change.type, change.item?.data]).sort(), [['del', undefined], ['set', 3]])
    await store.del('a/*')
    await told.when(() => live.items.length === 0)
    assert.equal(told.events.at(-1).changes.length, 2)
    assert.equal(one.items.length, 1)
    // Each listener gets the state, and then no more once it is off.
    const late = gather()
    const off = one.on(late.listener)
    assert.deepEqual([late.events.length, late.events[0].type, late.events[0].items.length], [1, 'state', 1])
    off()
    await store.del('b/1')
    await store.set('a/9', 9)
    await told.when(() => live.items.length === 1)
    assert.equal(late.events.length, 1)
    assert.equal(one.items.length, 0)
    live.close()
    assert.equal(live.status, 'closed')
    assert.deepEqual(told.events.at(-1), { type: 'status', status: 'closed' })
  })

  test(`${transport}: an order as the server has it, whatever JavaScript rounds`, async t => {
    const { url } = await serve(t)
    const store = client(t, url, options)
    const told = gather()
    const live = store.live('*/*', told.listener)
    await live.ready
    const paths = Array.from({ length: 300 }, (_, i) => `${'xab'[i % 3]}/${(i * 7919) % 1000}`)
    await store.batch(paths.map(path => ({ op: 'set', path, data: 0 })))
    await store.set(paths[150], 1)
    await told.when(() => live.get(paths[150])?.data === 1)
    assert.deepEqual(live.items, (await store.page('*/*', { limit: 1000 })).items)
    const fresh = client(t, url, options).live('*/*')
    await fresh.ready
    assert.deepEqual(fresh.items, live.items)
  })

  test(`${transport}: resumes without loss or doubles, over cuts and a server that is killed`, async t => {
    const server = await serve(t)
    const between = await proxy(t, server.url)
    const store = client(t, between.url, options)
    const plain = client(t, server.url)
    const told = gather()
    const live = store.live('log/*', told.listener)
    const other = store.live('other')
    await live.ready
    await other.ready
    await plain.set('other', 1) // a token of an empty store is none to go on from
    const states = gather()
    store.onStatus(states.listener)
    await states.when(() => store.status.state === 'live')
    other.on(states.listener)
    await states.when(() => other.items.length === 1)
    for (let round = 0; round < 12; round++) {
      const before = states.events.length
      if (round % 4 === 3) await server.restart()
      else between.cut()
      await plain.push('log/*', [round, 0])
      await plain.push('log/*', [round, 1])
      await states.when(() => states.events.slice(before).some(status => status.state === 'live'))
      await plain.push('log/*', [round, 2])
    }
    await told.when(() => live.items.length === 36)
    // Only what a restart made the server forget may come as a fresh state: at most once for each of them.
    const resets = told.events.filter(event => event.reset)
    assert.ok(resets.length <= 3 && resets.every(event => event.reset === 'the changes since the token are not kept'), JSON.stringify(resets))
    const seen = []
    for (const event of told.events) {
      if (event.type === 'change') seen.push(...event.changes.map(change => change.item.data))
      else if (event.type === 'state') seen.push(...event.items.map(item => item.data).reverse().filter(data => !seen.some(other => `${other}` === `${data}`)))
    }
    assert.deepEqual(seen, Array.from({ length: 36 }, (_, i) => [Math.floor(i / 3), i % 3]))
    assert.ok(states.events.some(status => status.state === 'waiting' && status.error.kind === 'network'))
  })

  test(`${transport}: a reset is a fresh state`, async t => {
    const first = await serve(t)
    const second = await serve(t)
    // A proxy that leads elsewhere from one moment on: as after a restore.
    const between = await proxy(t, first.url)
    const store = client(t, between.url, options)
    const told = gather()
    const live = store.live('a/*', told.listener)
    await live.ready
    await client(t, first.url).batch([{ op: 'set', path: 'a/old', data: 1 }, { op: 'set', path: 'a/both', data: 1 }])
    await told.when(() => live.items.length === 2)
    await client(t, second.url).batch([{ op: 'set', path: 'a/new', data: 2 }, { op: 'set', path: 'a/both', data: 2 }])
    await first.stop()
    between.to = new URL(second.url)
    between.cut()
    const reset = await told.until(event => event.type === 'state' && event.reset)
    assert.match(reset.reset, /another store/)
    assert.deepEqual(data(live), { 'a/both': 2, 'a/new': 2 })
    assert.deepEqual(reset.items, live.items)
    await client(t, second.url).set('a/more', 3)
    await told.when(() => live.items.length === 3)
  })

  test(`${transport}: property: after random writes and cuts, what is held is what the server has`, async t => {
    const { seed, below, of, next } = random()
    t.diagnostic(`SEED=${seed}`)
    const server = await serve(t)
    const between = await proxy(t, server.url)
    const store = client(t, between.url, options)
    const plain = client(t, server.url)
    const patterns = ['a/*', 'b/*', '*/*', '**', 'a/1', 'a/x*']
    const open = new Map()
    const folded = new Map() // what the events alone say
    const follow = pattern => {
      const map = new Map()
      folded.set(pattern, map)
      const told = gather()
      const live = store.live(pattern, event => {
        if (event.type === 'state') {
          map.clear()
          for (const item of event.items) map.set(item.path, item)
        } else if (event.type === 'change') {
          for (const { path, item, before } of event.changes) {
            assert.deepEqual(map.get(path), before)
            assert.notDeepEqual(item, before, 'a change that was told before')
            item ? map.set(path, item) : map.delete(path)
          }
        }
        told.listener(event)
      })
      open.set(pattern, { live, told })
    }
    follow('a/*')
    for (let step = 0; step < 250; step++) {
      const path = `${of(['a', 'b', 'c'])}/${of(['1', '2', 'x1', 'x2', 'y'])}`
      const dice = next()
      if (dice < 0.55) await plain.set(path, step)
      else if (dice < 0.65) await plain.del(path)
      else if (dice < 0.75) await plain.batch([{ op: 'push', path: `${of(['a', 'b'])}/*`, data: step }, { op: 'merge', path, data: { step } }])
      else if (dice < 0.78) await plain.del(of(['a/*', 'b/x*', 'c/**']))
      else if (dice < 0.88) between.cut()
      else if (dice < 0.9 && step > 100) await server.restart()
      else {
        const pattern = of(patterns)
        if (!open.has(pattern)) follow(pattern)
        else if (below(3) === 0) {
          open.get(pattern).live.close()
          open.delete(pattern)
        }
      }
    }
    await plain.set('a/1', 'end')
    for (const [pattern, { live, told }] of open) {
      const want = pattern.includes('*') ? (await plain.page(pattern, { limit: 1000 })).items : [await plain.get(pattern)]
      const revision = Math.max(...want.map(item => item.revision))
      await told.when(() => live.revision >= revision && live.status === 'live')
      assert.deepEqual(live.items, want, `${pattern}, SEED=${seed}`)
      assert.deepEqual(new Set(folded.get(pattern).values()), new Set(want), `the events of ${pattern}, SEED=${seed}`)
    }
  })

  test(`${transport}: who is refused is told, and the others go on`, async t => {
    const server = await serve(t, '--auth')
    const made = await oolith('token', 'create', '--name', 'reader', '--scope', 'read:open/*', '--store', `pebble:${server.directory}/data`)
    await server.restart()
    const token = /oolith_\S+/.exec(made)[0]
    const store = client(t, server.url, { ...options, token })
    const fine = store.live('open/*')
    const told = gather()
    const closed = store.live('closed/*', told.listener)
    await assert.rejects(closed.ready, { kind: 'forbidden' })
    assert.equal(closed.status, 'failed')
    await fine.ready
    const later = store.live('closed/b')
    await assert.rejects(later.ready, { kind: 'forbidden' })
    await fine.ready
    const statuses = gather()
    fine.on(statuses.listener)
    await statuses.when(() => fine.status === 'live')
    // Without a valid token, all are refused, until there is one.
    let given = 'oolith_x_y'
    const stranger = client(t, server.url, { ...options, token: () => given })
    const live = stranger.live('open/*')
    await assert.rejects(live.ready, { kind: 'unauthenticated', status: 401 })
    assert.equal(stranger.status.state, 'failed')
    assert.equal(stranger.status.error.kind, 'unauthenticated')
    given = token
    const back = gather()
    live.on(back.listener)
    stranger.wake()
    await back.until(event => event.type === 'state')
  })
}

test('goes on from the token of a page', async t => {
  const { url } = await serve(t)
  const store = client(t, url)
  await store.batch(Array.from({ length: 20 }, (_, i) => ({ op: 'set', path: `a/${i}`, data: i })))
  const page = await store.page('a/*', { limit: 5 })
  await store.set('a/3', 'between')
  const told = gather()
  const live = store.live('a/*', told.listener, { since: page.token, items: page.items })
  await store.set('a/19', 'new')
  await told.when(() => live.get('a/19').data === 'new')
  assert.deepEqual(told.events.flatMap(event => event.changes ?? []).map(change => change.path), ['a/3', 'a/19'])
  assert.equal(told.events[0].items.length, 5)
  assert.deepEqual(live.items.map(item => item.data), ['new', 18, 17, 16, 15, 'between'])
  // Beside one of the whole state, over cuts of both.
  const whole = store.live('a/*')
  await whole.ready
  assert.equal(whole.items.length, 20)
  const later = store.live('a/*', undefined, { since: live.token })
  await later.ready
  assert.equal(later.items.length, 0)
})

test('events, where sockets do not pass', async t => {
  const { url } = await serve(t)
  let upgrades = 0
  const between = await proxy(t, url, {
    pass(chunk, pair) {
      if (/^upgrade: websocket/im.test(chunk.toString())) {
        upgrades++
        pair.cut()
        return undefined
      }
      return chunk
    },
  })
  const store = client(t, between.url)
  const told = gather()
  const live = store.live('a/*', told.listener)
  await live.ready
  assert.equal(upgrades, 1)
  await store.set('a/1', 1)
  await told.when(() => live.items.length === 1)
  assert.equal(store.status.transport, 'events')
  // A second pattern, and a cut.
  const other = store.live('b/*')
  await other.ready
  between.cut()
  await store.set('a/2', 2)
  await told.when(() => live.items.length === 2)
  assert.equal(upgrades, 1)
  assert.deepEqual(told.events.filter(event => event.type === 'change').map(event => event.changes.length), [1, 1])
})

test('two of one pattern are one subscription', async t => {
  const { url } = await serve(t)
  const frames = []
  const between = await proxy(t, url)
  class Counted extends (await import('ws')).default {
    send(text) {
      frames.push(JSON.parse(text))
      super.send(text)
    }
  }
  const store = client(t, between.url, { WebSocket: Counted })
  const [one, two] = [store.live('a/*'), store.live('a/*')]
  await one.ready
  await two.ready
  assert.equal(frames.length, 1)
  one.close()
  const three = store.live('a/*')
  two.close()
  await three.ready
  await store.set('a/1', 1)
  const told = gather()
  three.on(told.listener)
  await told.when(() => three.items.length === 1)
  assert.equal(frames.length, 1)
  const gone = gather()
  store.onStatus(gone.listener)
  three.close()
  await gone.until(status => status.state === 'idle')
  assert.equal(between.open.size <= 2, true)
})

test('a pattern that is not followed any more is told to the server', async t => {
  const { url } = await serve(t)
  const frames = gather()
  class Watched extends (await import('ws')).default {
    send(text) {
      frames.listener(JSON.parse(text))
      super.send(text)
    }
  }
  const store = client(t, url, { WebSocket: Watched })
  const [a, b] = [store.live('a/*'), store.live('b/*')]
  await a.ready
  await b.ready
  a.close()
  const message = await frames.until(message => message.type === 'unsubscribe')
  assert.equal(message.id, frames.events[0].subscriptions[0].id)
})

test('too many patterns', async t => {
  const { url } = await serve(t)
  const store = client(t, url)
  const all = Array.from({ length: 100 }, (_, i) => store.live(`a/${i}`))
  await Promise.all(all.map(live => live.ready))
  await assert.rejects(store.live('b').ready, { kind: 'too-many' })
  await store.set('a/99', 1)
  const told = gather()
  all[99].on(told.listener)
  await told.when(() => all[99].items.length === 1)
})

test('an object that the hook refuses is left out, and told', async t => {
  const { url } = await serve(t)
  const plain = client(t, url)
  await plain.set('a/1', 'wrong')
  await plain.set('a/2', 2)
  const store = client(t, url, {
    validate(path, data) {
      if (typeof data !== 'number') throw new TypeError('expected a number')
      return data
    },
  })
  const told = gather()
  const live = store.live('a/*', told.listener)
  await live.ready
  const invalid = await told.until(event => event.type === 'invalid')
  assert.deepEqual([invalid.path, invalid.error.kind], ['a/1', 'invalid-data'])
  assert.deepEqual(data(live), { 'a/2': 2 })
  await plain.set('a/2', 'wrong')
  await told.when(() => live.items.length === 0)
  await plain.set('a/1', 1)
  await told.when(() => live.items.length === 1)
})

test('a listener that throws ends nothing', async t => {
  const { url } = await serve(t)
  const store = client(t, url)
  const thrown = []
  const reject = Promise.reject
  t.mock.method(Promise, 'reject', function (error) {
    if (!/application/.test(error.message)) return reject.call(this, error)
    thrown.push(error)
  })
  const live = store.live('a/*', event => {
    if (event.type === 'change') throw new Error('of the application')
  })
  const told = gather()
  live.on(told.listener)
  await live.ready
  await store.set('a/1', 1)
  await told.when(() => live.items.length === 1)
  assert.equal(thrown.length, 1)
})

test('a signal closes', async t => {
  const { url } = await serve(t)
  const store = client(t, url)
  const gone = new AbortController()
  const told = gather()
  const live = store.live('a/*', told.listener, { signal: gone.signal })
  await live.ready
  gone.abort()
  assert.equal(live.status, 'closed')
  const never = store.live('never', undefined, { signal: gone.signal })
  await assert.rejects(never.ready, { kind: 'closed' })
  store.close()
  assert.equal(store.status.state, 'closed')
  await assert.rejects(store.live('b').ready, { kind: 'closed' })
})

test('it backs off, and wakes', async t => {
  let refuse = true
  const { url } = await serve(t)
  const between = await proxy(t, url, { refuse: () => refuse })
  const waits = gather()
  let ms = 0
  const store = client(t, between.url, { backoff: failures => (waits.listener(failures), ms) })
  const live = store.live('a/*')
  await waits.until(failures => failures === 4)
  assert.deepEqual(waits.events.slice(0, 5), [0, 1, 2, 3, 4])
  assert.equal(store.status.error.kind, 'network')
  ms = 1e6
  const next = waits.events.length
  await waits.until(failures => failures === next)
  assert.equal(store.status.state, 'waiting')
  refuse = false
  globalThis.dispatchEvent?.(new Event('online'))
  store.wake()
  await live.ready
  // Once it is live, it begins with the shortest again.
  const states = gather()
  store.onStatus(states.listener)
  await states.when(() => store.status.state === 'live')
  const count = waits.events.length
  between.cut()
  await waits.when(() => waits.events.length > count)
  assert.equal(waits.events[count], 0)
})

test('by default, it waits 1 to 4 s at random, up to 32', async t => {
  const waits = []
  t.mock.method(globalThis, 'setTimeout', (_, ms) => void waits.push(ms))
  for (let i = 0; i < 200; i++) {
    const calls = []
    const { connect } = await import('oolith')
    const store = connect('http://127.0.0.1:1', { WebSocket: null, fetch: async () => (calls.push(1), Promise.reject(new TypeError('down'))) })
    void store.get('a').catch(() => {})
    await new Promise(resolve => setImmediate(resolve))
  }
  assert.ok(waits.length >= 200)
  assert.ok(waits.every(ms => ms >= 100 && ms <= 400), `${Math.min(...waits)} to ${Math.max(...waits)}`)
  assert.ok(new Set(waits).size > 100)
})

test('a connection that is silent is found out', async t => {
  const { url } = await serve(t)
  const between = await proxy(t, url)
  const beats = new Map()
  const clear = clearTimeout
  t.mock.method(globalThis, 'setInterval', look => {
    const timer = {}
    beats.set(timer, look)
    return timer
  })
  t.mock.method(globalThis, 'clearTimeout', timer => void (beats.delete(timer) || clear(timer)))
  const beat = () => [...beats.values()].forEach(look => look())
  const sent = gather()
  class Watched extends (await import('ws')).default {
    send(text) {
      sent.listener(JSON.parse(text))
      super.send(text)
    }
  }
  const store = client(t, between.url, { WebSocket: Watched })
  const states = gather()
  store.onStatus(states.listener)
  const live = store.live('a/*')
  await live.ready
  await states.until(status => status.state === 'live')
  // It is quiet: the server answers a ping, as often as that is.
  for (let i = 1; i <= 3; i++) {
    const pong = gather()
    between.open.forEach(({ other }) => other.once('data', pong.listener))
    beat()
    beat()
    await pong.until(() => true)
    assert.equal(sent.events.filter(message => message.type === 'ping').length, i)
    await store.set('b', i)
    const other = store.live('b')
    await other.ready // what came behind the answer to the ping
    other.close()
  }
  assert.deepEqual(states.events.map(status => status.state), ['connecting', 'live'])
  // The network is gone: no answer.
  between.stall()
  await client(t, url).set('a/1', 1)
  beat()
  beat()
  beat()
  await states.until(status => status.error?.message.includes('no answer'))
  await states.when(() => store.status.state === 'live')
  assert.equal(live.items.length, 1)
})

test('a server that speaks nonsense, and one that closes for good', async t => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'oolith.v1' })
  await once(server, 'listening')
  t.after(() => server.close())
  let says
  server.on('connection', socket => says(socket))
  const store = client(t, `http://127.0.0.1:${server.address().port}`)
  const states = gather()
  store.onStatus(states.listener)
  says = socket => {
    socket.send('{"type":"welcome","store":"ab"}')
    socket.send('<html>')
  }
  const live = store.live('a/*')
  await states.until(status => status.state === 'waiting' && /JSON|answer/.test(status.error.message))
  says = socket => {
    socket.send('{"type":"welcome","store":"ab"}')
    socket.close(4400, 'ten malformed messages')
  }
  await assert.rejects(live.ready, { message: /4400 ten malformed messages/ })
  assert.equal(store.status.state, 'failed')
})

test('a catchup that names what was never told leads to the whole state', async t => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'oolith.v1' })
  await once(server, 'listening')
  t.after(() => server.close())
  const item = (name, revision) => ({ created: revision, updated: 0, index: name, path: `a/${name}`, revision, data: name })
  const asked = []
  server.on('connection', socket => {
    const say = message => socket.send(JSON.stringify(message))
    say({ type: 'welcome', store: 'ab' })
    socket.on('message', text => {
      const message = JSON.parse(text)
      if (message.type !== 'subscribe') return
      asked.push(message.token)
      const [{ id, pattern }] = message.subscriptions
      const at = { token: `ab.${asked.length}`, revision: asked.length }
      if (asked.length === 1) say({ type: 'snapshot', ...at, subscriptions: [{ id, pattern, objects: [item('1', 1)] }] })
      else if (asked.length === 2) say({ type: 'catchup', ...at, since: message.token, subscriptions: [{ id, pattern, objects: [], paths: ['a/1', 'a/hidden'] }] })
      else say({ type: 'snapshot', ...at, subscriptions: [{ id, pattern, objects: [item('hidden', 2), item('1', 1)] }] })
      say({ type: 'live', ...at, subscriptions: [{ id, pattern }] })
      if (asked.length === 1) socket.close(1012)
    })
  })
  const told = gather()
  const live = client(t, `http://127.0.0.1:${server.address().port}`).live('a/*', told.listener)
  await told.when(() => live.status === 'live' && live.items.length === 2)
  assert.deepEqual(asked, [undefined, 'ab.1', undefined])
  assert.deepEqual(told.events.filter(event => event.type === 'state').map(event => [event.items.length, !!event.reset]), [[1, false], [2, true]])
})
