// A real server, a proxy that cuts, and ways to wait for what happens: no test sleeps.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect as dial, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import WebSocket from 'ws'
import { connect } from 'oolith'

/** Starts a server on a store of its own. It ends with the test. */
export async function serve(t, ...flags) {
  const directory = await mkdtemp(join(tmpdir(), 'store-'))
  let process_
  const server = {
    url: undefined,
    directory,
    async start(address = '127.0.0.1:0') {
      process_ = spawn(process.env.OOLITH, ['serve', '--store', `pebble:${join(directory, 'data')}`, '--addr', address, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] })
      let log = ''
      process_.stderr.on('data', text => (log += text))
      for await (const line of createInterface({ input: process_.stdout })) {
        const found = /^serving .* on (http:\S+)/.exec(line)
        if (found) {
          server.url = found[1]
          process_.stdout.resume()
          return server
        }
      }
      throw new Error(`the server does not start: ${log}`)
    },
    /** Kills the server, and starts it on the same store and address. */
    async restart() {
      await server.stop()
      await server.start(new URL(server.url).host)
    },
    async stop(signal = 'SIGKILL') {
      if (process_.exitCode !== null || process_.signalCode !== null) return
      process_.kill(signal)
      await once(process_, 'exit')
    },
  }
  t.after(async () => {
    await server.stop()
    await rm(directory, { recursive: true, force: true })
  })
  return server.start()
}

/** Runs the command line. */
export async function oolith(...args) {
  const child = spawn(process.env.OOLITH, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', text => (out += text))
  await once(child, 'close')
  return out
}

/** A client that the test closes. It comes back at once. */
export function client(t, url, options = {}) {
  const made = connect(url, { WebSocket, backoff: () => 1, ...options })
  t.after(() => made.close())
  return made
}

/** A proxy in front of a server. `cut` ends all connections; `refuse` is asked about each new one. */
export async function proxy(t, url, { refuse = () => false, pass = chunk => chunk } = {}) {
  const open = new Set()
  let made
  const server = createServer(socket => {
    if (refuse()) return socket.destroy()
    const other = dial(made.to.port, made.to.hostname)
    const pair = { socket, other, cut: () => (socket.destroy(), other.destroy()) }
    open.add(pair)
    const end = () => {
      open.delete(pair)
      pair.cut()
    }
    for (const one of [socket, other]) one.on('error', end).on('close', end)
    socket.on('data', chunk => (chunk = pass(chunk, pair)) && other.write(chunk))
    other.on('data', chunk => socket.write(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  made = {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Where it leads. */
    to: new URL(url),
    open,
    cut() {
      for (const pair of open) pair.cut()
    },
    /** Forwards nothing more on what is open, and cuts nothing: the network is gone. */
    stall() {
      for (const { socket, other } of open) {
        socket.pause()
        other.pause()
      }
    },
  }
  t.after(() => {
    made.cut()
    server.close()
  })
  return made
}

/** Gathers what a listener is told. `until` resolves with the first that a test accepts, of all that came and will come. */
export function gather() {
  const events = []
  const waiting = new Set()
  const listener = event => {
    events.push(event)
    for (const look of [...waiting]) look()
  }
  return {
    events,
    listener,
    until: accepts => new Promise(resolve => {
      const look = () => {
        const found = events.find(event => accepts(event))
        if (!found) return
        waiting.delete(look)
        resolve(found)
      }
      waiting.add(look)
      look()
    }),
    /** Resolves when a condition holds that can only change with an event. */
    when: holds => new Promise(resolve => {
      const look = () => {
        if (!holds()) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
    }),
  }
}

/** Numbers from a seed, which a failing test names. */
export function random(seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
  return { seed, next, below: n => Math.floor(next() * n), of: list => list[Math.floor(next() * list.length)] }
}
