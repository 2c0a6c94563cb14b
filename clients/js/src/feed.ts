// What is held of one pattern, and who listens. A feed knows nothing of connections: it is given messages.

import { OolithError } from './error.js'
import type { Context } from './http.js'
import type { Item, Live, LiveChange, LiveEvent, LiveOptions, LiveStatus } from './types.js'

/** A message of the server; docs/protocol.md. */
export interface Message {
  type: string
  token?: string
  revision: number
  reason?: string
  id?: number | null
  code?: string
  detail?: string
  subscriptions?: Part[]
}

export interface Part {
  id: number | string
  objects?: Item[]
  paths?: string[]
  changes?: { set?: Item; del?: string }[]
}

type Listener = (event: LiveEvent<any>) => void

export interface Feed {
  readonly id: number
  readonly pattern: string
  /** Where to go on from; undefined before the first state. */
  token: string | undefined
  /** Up to which place in the commit order all is held. */
  revision: number
  /** It was asked for on this connection. */
  asked: boolean
  /** It has all up to the last message of this connection. */
  synced: boolean
  status: LiveStatus
  error: OolithError | undefined
  readonly listeners: Set<Listener>
  readonly items: readonly Item<any>[]
  /** By path, about the oldest first. */
  readonly held: Map<string, Item<any>>
  become(status: LiveStatus, error?: OolithError): void
  take(message: Message, part: Part): void
}

/** Calls listeners. What one throws ends nothing else. */
export function tell<E>(listeners: Iterable<(event: E) => void>, event: E): void {
  for (const listener of [...listeners]) {
    try {
      listener(event)
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }
}

/** Makes a feed, of items that are held at a token, if there is one. */
export function feedOf(id: number, pattern: string, { check }: Context, { since: token, items = [] }: LiveOptions<any>): Feed {
  const held = new Map(items.map(item => [item.path, item] as const).reverse())
  const listeners = new Set<Listener>()
  let sorted: Item[] | undefined
  let reset: string | undefined
  const feed: Feed = {
    id, pattern, token, revision: +(token?.split('.')[1] ?? 0), asked: false, synced: false, status: token ? 'stale' : 'waiting', error: undefined, listeners, held,
    // Times are rounded: of those that are equal, the one that came later is the newer one, as the server tells a state and a
    // commit in order, and the sort is stable.
    get items() {
      return (sorted ??= [...held.values()].sort((a, b) => a.created - b.created).reverse())
    },
    become(status, error) {
      if (status === feed.status) return
      feed.status = status
      feed.error = error
      tell(listeners, { type: 'status', status, error })
    },
    take({ type, token = '', revision, reason }, { objects = [], paths, changes = [] }) {
      const whole = !feed.token || reset
      const etag = (item: Item) => `"${token.split('.')[0]}-${item.revision}"`
      const made: LiveChange<any>[] = []
      const put = (path: string, item?: Item) => {
        const before = held.get(path)
        try {
          item &&= check({ ...item, etag: etag(item) })
        } catch (error) {
          tell(listeners, { type: 'invalid', path, error: error as OolithError })
          item = undefined
        }
        if (item) {
          held.set(path, item)
          made.push({ type: 'set', path, item, before })
        } else if (held.delete(path)) made.push({ type: 'del', path, item, before })
      }
      if (type === 'reset') {
        reset = reason
        return
      }
      // A feed that was asked for with one that was behind is told what it has.
      if (type === 'patch' && revision <= feed.revision) return
      feed.token = token
      feed.revision = revision
      if (type === 'live') {
        feed.synced = true
        feed.become('live')
      } else if (type === 'patch') {
        for (const { set, del } of changes) put(set?.path ?? del!, set)
      } else {
        // A state or a catchup: what is not there any more, and what is new.
        const there = new Set(whole ? [] : (paths ?? objects.map(item => item.path)))
        for (const path of held.keys()) there.has(path) || put(path)
        for (const item of objects.reverse()) held.get(item.path)?.etag === etag(item) || put(item.path, item)
      }
      if (made[0]) sorted = undefined
      if (whole) {
        tell(listeners, { type: 'state', items: feed.items, revision, reset })
        reset = undefined
        feed.become('live')
      } else if (made[0]) tell(listeners, { type: 'change', changes: made, revision })
    },
  }
  return feed
}

/** A view of a feed: what an application holds. */
export function view<T>(feed: Feed, listener: Listener | undefined, signal: AbortSignal | undefined, closed: () => void): Live<T> {
  const own = new Set<Listener>()
  const all: Listener = event => tell(own, event)
  const on = (listener: Listener) => {
    const each: Listener = event => listener(event)
    own.add(each)
    if (feed.token) tell([each], { type: 'state', items: feed.items, revision: feed.revision, reset: undefined })
    if (feed.error) tell([each], { type: 'status', status: feed.status, error: feed.error })
    return () => void own.delete(each)
  }
  let open = true
  const close = () => {
    if (!open) return
    open = false
    feed.listeners.delete(all)
    all({ type: 'status', status: 'closed', error: undefined })
    closed()
  }
  feed.listeners.add(all)
  const ready = new Promise<void>((resolve, reject) => on(event => {
    if (event.type === 'state') resolve()
    if (event.type === 'status' && /f|c/.test(event.status)) reject(event.error ?? new OolithError('closed', `live ${feed.pattern}: closed`))
  }))
  ready.catch(() => {}) // who does not wait for it is told by `status`
  if (listener) on(listener)
  signal?.addEventListener('abort', close)
  if (signal?.aborted) close()
  return {
    pattern: feed.pattern,
    get items() { return feed.items },
    get status() { return open ? feed.status : 'closed' },
    get error() { return feed.error },
    get revision() { return feed.revision },
    get token() { return feed.token },
    ready, on, close,
    get: path => feed.held.get(path),
  }
}
