// The connection of all that is followed: one socket or, where sockets do not pass, one stream of events. It comes back by
// itself, and each feed goes on from its token.

import { OolithError } from './error.js'
import { tell, type Feed, type Message } from './feed.js'
import { errorOf, send, type Context } from './http.js'
import type { Client, SocketClass, Status } from './types.js'

/** An attempt to connect, and the connection that it becomes. */
interface Session {
  end(): void
  /** Sends a message; undefined while there is no connection. */
  send?(message: { type: string; [member: string]: unknown }): void
  /** So many looks ago something came. */
  quiet: number
}

/** How often it is looked whether the connection is alive, in milliseconds: the server's events come more often. */
const beat = 25_000

/** What follows feeds, as the half of a client that is about the connection. */
export function link(context: Context) {
  const feeds = new Map<number, Feed>()
  const listeners = new Set<(status: Status) => void>()
  const Socket: SocketClass | null | undefined = context.WebSocket === undefined ? (globalThis as any).WebSocket : context.WebSocket
  let sockets = !!Socket // that they pass is not ruled out
  let session: Session | undefined
  let failures = 0
  let timer: ReturnType<typeof setTimeout> | undefined // of the session or, without one, until the next
  let status: Status = { state: 'idle', since: Date.now(), transport: undefined, error: undefined }

  const wanted = () => [...feeds.values()].filter(feed => feed.status !== 'failed')

  function become(state: Status['state'], error?: OolithError): void {
    if (status.state === state || status.state === 'closed') return
    status = { state, since: Date.now(), transport: state === 'live' ? (sockets ? 'socket' : 'events') : undefined, error }
    tell(listeners, status)
  }

  /** Ends the session, if there is one. */
  function leave(): void {
    clearTimeout(timer)
    const ended = session
    session = timer = undefined
    ended?.end()
    for (const feed of feeds.values()) {
      feed.asked = feed.synced = false
      if (feed.status === 'live') feed.become('stale')
    }
  }

  /** The session is lost, or does not come about. */
  function lost(of: Session, error: OolithError): void {
    if (of !== session) return
    leave()
    timer = setTimeout(connect, context.backoff(failures++))
    become('waiting', error)
    if (!wanted().length) connect(error)
  }

  /** The server refuses some feeds. */
  function refuse(refused: Feed[], error: OolithError): void {
    for (const feed of refused) feed.become('failed', error)
  }

  async function connect(error = status.error): Promise<void> {
    leave()
    if (!wanted().length) return become(feeds.size ? 'failed' : 'idle', error)
    const of: Session = (session = { quiet: 0, end() {} })
    become('connecting', error)
    try {
      if (sockets && (await socket(of, await context.bearer()))) return
      if (of === session) await events(of)
    } catch (cause) {
      lost(of, new OolithError('network', `no connection: ${cause}`, cause))
    }
  }

  /** The connection is there. It is looked after. */
  function opened(of: Session, send: NonNullable<Session['send']>): void {
    of.send = send
    clearTimeout(timer)
    timer = setInterval(() => {
      if (of.quiet++ > 1) lost(of, new OolithError('network', 'no sign of life'))
      else if (of.quiet > 1) send({ type: 'ping', id: 0 })
    }, beat)
  }

  /** Connects by a socket. False when none passes. */
  const socket = (of: Session, token: string | undefined) =>
    new Promise<boolean>(resolve => {
      const socket = new Socket!(context.base.replace('http', 'ws') + '/~/live', ['oolith.v1', ...(token ? ['bearer', token] : [])])
      of.end = () => socket.close()
      timer = setTimeout(of.end, 10_000)
      socket.onerror = () => {} // it is closed then
      socket.onclose = ({ code, reason }) => {
        resolve(false)
        const error = new OolithError('network', `closed: ${code} ${reason}`)
        if (of !== session || !of.send) return
        if ([1002, 1007, 1009, 4400].includes(code)) refuse(wanted(), error) // the same would happen again
        lost(of, error)
      }
      socket.onmessage = ({ data }) => {
        if (take(of, data) !== 'welcome') return
        opened(of, message => socket.send(JSON.stringify(message)))
        ask(of, wanted())
        resolve(true)
      }
    })

  /** Follows feeds: those that go on from a place together, and then the others. */
  function ask(of: Session, list: Feed[]): void {
    const held = list.filter(feed => feed.token)
    for (const part of [held, ...list.filter(feed => !feed.token).map(feed => [feed])]) {
      if (part[0]) of.send!({ type: 'subscribe', subscriptions: part.map(({ id, pattern }) => ({ id, pattern })), token: oldest(part) })
    }
    for (const feed of list) feed.asked = true
  }

  /** The token of the feed that is most behind: the others drop what they have. undefined if one needs the state. */
  const oldest = (list: Feed[]) => list.reduce((a, b) => (a.revision < b.revision ? a : b)).token

  /** Hands a message to the feeds that it concerns, and returns its type. */
  function take(of: Session, text: string): string | undefined {
    if (of !== session) return
    of.quiet = 0
    try {
      const message: Message = JSON.parse(text)
      const { type, token, revision, subscriptions = [], id, code, detail } = message
      for (const feed of feeds.values()) {
        for (const part of subscriptions) if (feed.asked && [feed.id, feed.pattern].includes(part.id)) feed.take(message, part)
        // All that is synced is at one place, whatever the message names.
        if (token && feed.synced && feed.revision < revision) Object.assign(feed, { token, revision })
      }
      if (type === 'problem') {
        const error = new OolithError(code!, `${code}: ${detail}`)
        const feed = feeds.get(id!)
        if (code === 'unavailable') lost(of, error)
        else {
          refuse(feed ? [feed] : wanted(), error)
          // None of those that were asked for together is followed.
          if (!feed || feed.token || !wanted().length) connect(error)
        }
      } else if (type === 'live') {
        failures = 0
        if (of === session && wanted().every(feed => feed.synced)) become('live')
      }
      return type
    } catch (cause) {
      lost(of, new OolithError('malformed', `no message: ${cause}`, cause))
    }
    return
  }

  /** Connects by a stream of events. Returns when it is over. */
  async function events(of: Session): Promise<void> {
    const list = wanted()
    const limit = new AbortController()
    of.end = () => limit.abort()
    timer = setTimeout(of.end, 10_000)
    sockets = !!Socket
    const response = await send(context, '/~/live?' + new URLSearchParams(list.map(feed => ['watch', feed.pattern])), {
      headers: { Accept: 'text/event-stream', 'Last-Event-ID': oldest(list) }, signal: limit.signal,
    })
    if (!response.ok) {
      const error = errorOf(response, await response.text())
      const { status, problem } = error
      if (of === session && status < 500 && status !== 429) {
        const named = list.filter(feed => feed.pattern === problem.pattern)
        refuse(named[0] ? named : list, error)
      }
      return lost(of, error)
    }
    if (of !== session) return
    sockets = false
    for (const feed of list) feed.asked = true
    // Another pattern is another stream, and a stream that says nothing is made anew.
    opened(of, ({ type }) => type === 'unsubscribe' || connect())
    const reader = response.body!.getReader()
    const decoder = new TextDecoder()
    for (let rest = '', from = 0; ; from = Math.max(0, rest.length - 1)) {
      const { done, value } = await reader.read()
      if (done) return lost(of, new OolithError('network', 'the stream ended'))
      of.quiet = 0
      rest += decoder.decode(value, { stream: true })
      for (let end; (end = rest.indexOf('\n\n', from)) >= 0; from = 0) {
        const data = /^data: (.*)$/m.exec(rest.slice(0, end))
        rest = rest.slice(end + 2)
        if (data) take(of, data[1]!)
      }
    }
  }

  const calls = {
    url: context.base,
    get status() { return status },
    onStatus(listener) {
      const each: typeof listener = status => listener(status)
      listeners.add(each)
      return () => void listeners.delete(each)
    },
    wake() {
      for (const feed of feeds.values()) if (feed.status === 'failed') feed.become(feed.token ? 'stale' : 'waiting')
      if (session) session.send?.({ type: 'ping', id: 0 })
      else connect()
    },
    close() {
      globalThis.removeEventListener?.('online', calls.wake)
      for (const feed of feeds.values()) feed.become('closed')
      feeds.clear()
      leave()
      become('closed')
    },
  } satisfies Partial<Client>
  globalThis.addEventListener?.('online', calls.wake)
  return {
    calls,
    add(feed: Feed) {
      feeds.set(feed.id, feed)
      // Feeds that come together are asked for together.
      setTimeout(() => {
        if (session?.send) ask(session, wanted().filter(feed => !feed.asked))
        else if (!session && !timer) connect()
      })
    },
    remove(feed: Feed) {
      feeds.delete(feed.id)
      if (feed.asked) session?.send?.({ type: 'unsubscribe', id: feed.id })
      if (!feeds.size) connect()
    },
  }
}
