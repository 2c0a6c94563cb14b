// The cases of the package's own tests, and what its state is after many changes, against the server in argv[2].
import assert from 'node:assert/strict'
import { register } from 'node:module'
import WebSocket from 'ws'

// The package is made for bundlers, which take the module form of its dependency. Node is told to take it, too.
register('data:text/javascript,' + encodeURIComponent(`
  export const resolve = (name, context, next) =>
    next(name === 'fast-json-patch' ? 'fast-json-patch/index.mjs' : name, context)
`))
const { default: ooo } = await import('ooo-client')

const host = process.argv[2]
const page = new EventTarget()
globalThis.document = page
globalThis.WebSocket = WebSocket
// The HTTP library of the package sets this member, which newer Nodes let nobody set.
Object.defineProperty(Request.prototype, 'duplex', { value: 'half', writable: true, configurable: true })
const copy = value => JSON.parse(JSON.stringify(value))
const empty = { created: 0, updated: 0, index: '', data: {} }

// follow collects what a client is told until there are so many messages.
function follow(path, count, act) {
  return new Promise((resolve, reject) => {
    const client = ooo(host + path)
    const messages = []
    let began = false
    client.onerror = event => reject(event.error ?? event)
    client.onmessage = message => {
      messages.push(copy(message))
      if (!began) {
        began = true
        Promise.resolve(act(client)).catch(reject)
      }
      if (messages.length === count) {
        client.close()
        resolve(messages)
      }
    }
  })
}

const cases = {
  async object() {
    const states = [{ name: 'a box 🧰' }, { name: 'still a box 💾' }]
    const got = await follow('/box', 4, async client => {
      await client.publish('box', states[0])
      await client.publish('box', states[1])
      await client.unpublish('box')
    })
    assert.deepEqual(got[0], empty)
    assert.ok(got[1].created > 0 && got[1].updated === 0 && got[1].index === 'box')
    assert.deepEqual(got[1].data, states[0])
    assert.ok(got[2].created > 0 && got[2].updated > 0)
    assert.deepEqual(got[2].data, states[1])
    assert.deepEqual(got[3], empty)
  },
  async list() {
    const got = await follow('/box/*', 4, async client => {
      const id = await client.publish('box/*', { name: 'something' })
      await client.publish('box/' + id, { name: 'still something' })
      await client.unpublish('box/' + id)
    })
    assert.deepEqual(got.map(list => list.length), [0, 1, 1, 0])
    assert.ok(got[1][0].updated === 0 && got[2][0].updated > 0)
    assert.deepEqual(got[2][0].data, { name: 'still something' })
  },
  async 'a message for each write'() {
    const got = await follow('/things/*', 22, async client => {
      const ids = []
      for (let i = 0; i < 10; i++) ids.push(await client.publish('things/*', { name: 'name' + i }))
      for (const id of ids) await client.publish('things/' + id, { name: 'name' + id })
      await client.unpublish('things/*')
    })
    assert.deepEqual(got[10].map(item => item.data.name), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map(i => 'name' + i))
    assert.equal(got[0].length, 0)
    assert.equal(got[21].length, 0)
  },
  async clock() {
    const got = await follow('', 2, () => {})
    assert.ok(got[1] > got[0] && got[0] > 1e18)
  },
  async 'a version that is current brings nothing'() {
    const client = ooo(host + '/test')
    const messages = []
    let opened = 0
    await new Promise((resolve, reject) => {
      client.onerror = event => reject(event.error ?? event)
      client.onmessage = message => {
        messages.push(copy(message))
        if (messages.length === 1) client.close(true)
        if (messages.length === 2) resolve()
      }
      client.onopen = () => {
        if (++opened === 2) {
          assert.ok(client.ws.url.includes('?v='))
          setTimeout(() => client.publish('test', 1).catch(reject), 300)
        }
      }
    })
    client.close()
    assert.deepEqual(messages[0], empty)
    assert.equal(messages[1].data, 1)
    await client.unpublish('test')
  },
  async 'freeze and resume'() {
    const client = ooo(host + '/test')
    let opened = 0
    await new Promise((resolve, reject) => {
      client.onerror = event => reject(event.error ?? event)
      client.onmessage = () => {
        if (opened > 1) return
        page.dispatchEvent(new Event('freeze'))
        setTimeout(() => page.dispatchEvent(new Event('resume')), 300)
      }
      client.onopen = () => {
        if (++opened === 2) resolve()
      }
    })
    assert.ok(client.ws.url.includes('?v='))
    client.close()
  },
  async keys() {
    const client = ooo()
    client.httpUrl = 'http://' + host
    assert.deepEqual((await client.stats()).keys, [])
    await client.publish('box', { name: 'a box' })
    assert.deepEqual((await client.stats()).keys, ['box'])
    await client.unpublish('box')
    assert.deepEqual((await client.stats()).keys, [])
  },
  async get() {
    const client = ooo()
    client.httpUrl = 'http://' + host
    assert.deepEqual(await client.get('*'), [])
    await client.publish('box/1/things/1', { name: 'one' })
    await client.publish('box/2/things/0', { name: 'two' })
    assert.deepEqual((await client.get('box/*/things/*')).map(item => item.data.name), ['two', 'one'])
    assert.equal((await client.get('box/2/things/0')).data.name, 'two')
    await client.unpublish('box/*/things/*')
  },
  async 'state after many changes'() {
    const rest = ooo()
    rest.httpUrl = 'http://' + host
    const client = ooo(host + '/many/*')
    let state
    await new Promise((resolve, reject) => {
      client.onerror = event => reject(event.error ?? event)
      client.onmessage = message => {
        state = message
        if (message.some(item => item.index === 'last')) resolve()
      }
      client.onopen = async () => {
        let random = 7
        for (let i = 0; i < 300; i++) {
          random = (random * 1103515245 + 12345) % 2147483648
          const path = 'many/' + random % 17
          const data = { i, list: [random % 3, random % 5, { deep: random % 7 }], 'a/b~c': '€<&>' }
          if (random % 4) await rest.publish(path, data)
          else await rest.unpublish(path).catch(() => {})
        }
        await rest.publish('many/last', 1)
      }
    })
    assert.deepEqual(copy(state).map(plain), (await rest.get('many/*')).map(plain))
    client.close()
    await rest.unpublish('many/*')
  },
  // Not the package: our own protocol, by a client that compresses.
  async 'oolith.v1 with compression'() {
    const socket = new WebSocket('ws://' + host + '/~/live', 'oolith.v1', { perMessageDeflate: { threshold: 0 } })
    const send = message => socket.send(JSON.stringify(message))
    const big = 'some text, and an é '.repeat(2000)
    const kinds = []
    const change = await new Promise((resolve, reject) => {
      socket.on('error', reject)
      socket.on('close', code => reject(new Error('closed with ' + code)))
      socket.on('open', () => send({ type: 'subscribe', id: 1, pattern: 'deflate/*' }))
      socket.on('message', text => {
        const message = JSON.parse(text)
        kinds.push(message.type)
        if (message.type === 'live') send({ type: 'enter', id: 1, path: 'deflate/me', data: { big } })
        if (message.type === 'patch') resolve(message.subscriptions[0].changes[0])
      })
    })
    assert.equal(socket.extensions, 'permessage-deflate')
    assert.deepEqual(kinds.slice(0, 3), ['welcome', 'snapshot', 'live'])
    assert.equal(change.set.data.big, big)
    socket.removeAllListeners('close')
    socket.close(1000)
  }
}

// plain is what both answers have of an object.
const plain = item => ({ created: item.created, updated: item.updated, index: item.index, path: item.path, data: item.data })

for (const [name, run] of Object.entries(cases)) {
  await run()
  console.log('ok', name)
}
process.exit(0)
