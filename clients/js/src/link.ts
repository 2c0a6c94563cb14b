// The connection of all feeds: one WebSocket or, if these do not work, one stream of events. It reconnects by
// itself, and each feed resumes from its token.

import { OolithError } from './error.js'
import { tell, type Feed, type Message } from './feed.js'
import { errorOf, send, type Asked, type Context } from './http.js'
import type { Client, SocketClass, Status } from './types.js'

/** An attempt to connect, and the resulting connection. */
export interface Session {
  end?(): void
  /** Sends a message; undefined while there is no connection. */
  send?(message: { type: string; [member: string]: unknown }): void
  /** The number of checks since the last message. */
  quiet: number
}

/** What a stream of events needs from the connection. */
export interface Host {
  /** Sends a request. */
  fetch(target: string, asked: Asked): Promise<Response>
  errorOf: typeof errorOf
  oldest(list: Feed[]): string | undefined
  refuse(refused: Feed[], error: OolithError): void
  opened(of: Session, send: NonNullable<Session['send']>): void
  take(of: Session, text: string): Promise<unknown>
  connect(): void
}

/** The interval of checks whether the connection is alive, in milliseconds. The server sends something more often. */
const beat = 25_000

/** The part of a client that follows feeds over the connection. */
export function link(context: Context) {
  const feeds = new Set<Feed>()
  const listeners = new Set<(status: Status) => void>()
  const Socket: SocketClass | null | undefined = context.WebSocket === undefined ? (globalThis as any).WebSocket : context.WebSocket
  let sockets = !!Socket // that they pass is not ruled out
  let session: Session | undefined
  let failures = 0
  let timer: ReturnType<typeof setTimeout> | undefined // of the session or, without one, until the next
  let status: Status = { state: 'idle', since: Date.now() }

  const wanted = () => [...feeds].filter(feed => feed.status !== 'failed')

  function become(state: Status['state'], error?: OolithError): void {
    if (status.state === state || status.state === 'closed') return
    status = { state, since: Date.now(), transport: state === 'live' ? (sockets ? 'socket' : 'events') : undefined, error }
    tell(listeners, status)
  }

  /** Ends the session, if there is one. */
  function leave(): void {
    clearTimeout(timer)
    session?.end?.()
    session = timer = undefined
    for (const feed of feeds) {
      feed.asked = feed.synced = false
      if (feed.status === 'live') feed.become('stale')
    }
  }

  /** The session is lost or could not start. */
  function lost(of: Session, error: OolithError): void {
    if (of !== session) return
    leave()
    timer = setTimeout(connect, context.backoff(failures++))
    become('waiting', error)
    if (!wanted().length) connect(error)
  }

  /** The server rejects some feeds. */
  function refuse(refused: Feed[], error: OolithError): void {
    for (const feed of refused) feed.become('failed', error)
  }

  async function connect(error = status.error): Promise<void> {
    leave()
    if (!wanted().length) return become(feeds.size ? 'failed' : 'idle', error)
    const of: Session = (session = { quiet: 0 })
    timer = setInterval(() => of.end?.(), 10_000) // first the socket, then the events
    become('connecting', error)
    try {
      const token = await context.bearer()
      if (of !== session || (sockets && (await socket(of, token))) || of !== session) return
      sockets = !!Socket // unless events come
      const fetch: Host['fetch'] = (target, asked) => send(context, target, asked)
      await (await import('./events.js')).events(of, wanted(), { fetch, errorOf, oldest, refuse, opened, take, connect })
      throw new OolithError('network', 'closed')
    } catch (cause) {
      lost(of, (cause as OolithError).kind ? (cause as OolithError) : new OolithError('network', `no answer: ${cause}`, cause))
    }
  }

  /** The connection is open. Starts its checks. */
  function opened(of: Session, send: NonNullable<Session['send']>, passes?: boolean): void {
    sockets = !!passes
    of.send = send
    clearTimeout(timer)
    timer = setInterval(() => {
      if (of.quiet++ > 1) lost(of, new OolithError('network', 'no answer'))
      else if (of.quiet > 1) send({ type: 'ping', id: 0 })
    }, beat)
  }

  /** Connects with a WebSocket. Returns false if that does not work. */
  const socket = (of: Session, token: string | undefined) =>
    new Promise<boolean>((resolve, reject) => {
      const socket = new Socket!(context.base.replace('http', 'ws') + '/~/live', ['oolith.v1', ...(token ? ['bearer', token] : [])])
      of.end = () => socket.close()
      socket.onerror = () => {} // it is closed then
      socket.onclose = ({ code, reason }) => {
        if (!of.send) return resolve(false)
        const error = new OolithError('network', `closed: ${code} ${reason}`)
        if (of === session && [1002, 1007, 1009, 4400].includes(code)) refuse(wanted(), error) // the same would happen again
        reject(error)
      }
      socket.onmessage = ({ data }) => {
        take(of, data).then(type => {
          if (type !== 'welcome') return
          opened(of, message => socket.send(JSON.stringify(message)), true)
          ask(of, wanted())
        }, reject)
      }
    })

  /** Follows feeds: those that resume, and those that need the state. */
  function ask(of: Session, list: Feed[]): void {
    for (const has of [true, false]) {
      const part = list.filter(feed => !!feed.token === has)
      if (part[0]) of.send!({ type: 'subscribe', subscriptions: part.map(({ id, pattern }) => ({ id, pattern })), token: oldest(part) })
    }
    for (const feed of list) feed.asked = true
  }

  /** The token of the feed that is furthest behind; the others ignore repeated messages. undefined if one needs the state. */
  const oldest = (list: Feed[]) => [...list].sort((a, b) => a.revision - b.revision)[0]!.token

  /** Passes a message to its feeds and returns its type. */
  async function take(of: Session, text: string): Promise<string | undefined> {
    if (of !== session) return
    of.quiet = 0
    const message: Message = JSON.parse(text)
    const { type, token, revision, subscriptions = [], id, code, detail } = message
    for (const feed of feeds) {
      for (const part of subscriptions) if (feed.asked && (part.id === feed.id || part.id === feed.pattern)) feed.take(message, part)
      // All synchronized feeds are at one position, whichever feeds the message names.
      if (token && feed.synced && feed.revision < revision) Object.assign(feed, { token, revision })
    }
    if (code) {
      const error = new OolithError(code, `${code}: ${detail}`)
      if (code === 'unavailable') throw error
      refuse(wanted().filter(feed => (id ? feed.id === id : !feed.synced)), error)
      connect(error) // none of those that were asked for together is followed
    } else if (type === 'live') {
      failures = 0
      if (of === session && wanted().every(feed => feed.synced)) become('live')
    }
    return type
  }

  const client = {
    url: context.base,
    get status() { return status },
    onStatus(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    wake() {
      for (const feed of feeds) if (feed.status === 'failed') feed.become(feed.token ? 'stale' : 'waiting')
      if (session) session.send?.({ type: 'ping', id: 0 })
      else connect()
    },
    close() {
      globalThis.removeEventListener?.('online', client.wake)
      for (const feed of feeds) feed.become('closed')
      feeds.clear()
      leave()
      become('closed')
    },
  } satisfies Partial<Client>
  globalThis.addEventListener?.('online', client.wake)
  return {
    client,
    add(feed: Feed) {
      if (status.state === 'closed') return feed.become('closed')
      feeds.add(feed)
      // Feeds that start together are requested together.
      setTimeout(() => {
        if (session?.send) ask(session, wanted().filter(feed => !feed.asked))
        else if (!session && !timer) connect()
      })
    },
    remove(feed: Feed) {
      if (feeds.delete(feed) && feed.asked) session?.send?.({ type: 'unsubscribe', id: feed.id })
      if (!feeds.size) connect()
    },
  }
}
