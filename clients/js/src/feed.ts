// The local copy of one pattern and its listeners. A feed knows nothing about connections; it receives messages.

import { OolithError } from './error.js'
import type { Context } from './http.js'
import type { Item, Live, LiveChange, LiveEvent, LiveOptions, LiveStatus } from './types.js'

/** A message of the server; see docs/protocol.md. */
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
  /** Where to resume; undefined before the first state. */
  token: string | undefined
  /** The position in the commit order up to which the copy is complete. */
  revision: number
  /** It was requested on this connection. */
  asked?: boolean
  /** It has everything up to the last message of the connection. */
  synced?: boolean
  status: LiveStatus
  error?: OolithError | undefined
  readonly listeners: Set<Listener>
  readonly items: readonly Item<any>[]
  /** By path, approximately oldest first. */
  readonly held: Map<string, Item<any>>
  become(status: LiveStatus, error?: OolithError): void
  take(message: Message, part: Part): void
}

/** Calls listeners. An exception in one does not affect the others. */
export function tell<E>(listeners: Iterable<(event: E) => void>, event: E): void {
  for (const listener of [...listeners]) {
    try {
      listener(event)
    } catch (error) {
      Promise.reject(error) // which nobody handles
    }
  }
}

/** An item with its etag, at a token. */
export const tagged = <I extends Item<any>>(item: I, token: string): I => ({ ...item, etag: `"${token.split('.')[0]}-${item.revision}"` })

/** Creates a feed, optionally with items at a token. */
export function feedOf(id: number, pattern: string, { check }: Context, { since: token, items = [], whole: all = !token }: LiveOptions<any>): Feed {
  const held = new Map(items.map(item => [item.path, item] as const).reverse())
  const listeners = new Set<Listener>()
  let sorted: Item[] | undefined
  let reset: string | undefined
  const feed: Feed = {
    id, pattern, token, revision: +`${token}`.split('.')[1]! || 0, status: token ? 'stale' : 'waiting', listeners, held,
    // Times are rounded. Of two equal times, the later item is the newer one, because the server sends a state and a
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
    take({ type, token = '', revision, reason }, { objects, paths, changes = [] }) {
      if (type === 'live' && !feed.token) return // behind what was not taken
      const before = reset
      reset = reason
      // A feed requested together with one that was behind receives what it already has.
      if (reset || (changes[0] && revision <= feed.revision)) return
      const whole = before || !feed.token
      const made: LiveChange<any>[] = []
      const put = (path: string, item?: Item) => {
        const before = held.get(path)
        item &&= tagged(item, token)
        if (item && before?.etag === item.etag) return
        try {
          item &&= check(item)
        } catch (error) {
          tell(listeners, { type: 'invalid', path, error: error as OolithError })
          item = undefined
        }
        if (item) held.set(path, item)
        else if (!held.delete(path)) return
        sorted = undefined
        made.push({ type: item ? 'set' : 'del', path, item, before } as LiveChange<any>)
      }
      feed.token = token
      feed.revision = revision
      for (const { set, del } of changes) put(set?.path ?? del!, set)
      if (objects) {
        // A state or a catchup: deleted and new items.
        const there = new Set(whole ? [] : (paths ?? objects.map(item => item.path)))
        for (const path of held.keys()) there.has(path) || put(path)
        for (const item of objects.reverse()) put(item.path, item)
        if (all && paths?.some(path => !held.has(path))) {
          // The server hid it until now and does not send it. Only the whole state has it.
          feed.token = undefined
          feed.revision = 0
          reset = 'unknown'
          throw new OolithError('malformed', reset)
        }
      }
      if (objects && whole) tell(listeners, { type: 'state', items: feed.items, revision, reset: before })
      else if (made[0]) tell(listeners, { type: 'change', changes: made, revision })
      if (type === 'live') feed.synced = true
      if (feed.synced) feed.become('live')
    },
  }
  return feed
}

/** Whether it has ended: failed or closed. */
const over = (status: LiveStatus) => /f|c/.test(status)

/** A view of a feed, as an application holds it. It reads everything from the feed. */
export function view<T>(feed: Feed, listener: Listener | undefined, signal: AbortSignal | undefined, closed: () => void): Live<T> {
  const own = new Set<Listener>()
  const all: Listener = event => tell(own, event)
  const on = (listener: Listener) => {
    own.add(listener)
    if (feed.token) tell([listener], { type: 'state', items: feed.items, revision: feed.revision })
    if (over(feed.status)) tell([listener], { type: 'status', status: feed.status, error: feed.error })
    return () => own.delete(listener)
  }
  const live = {
    __proto__: feed,
    on,
    get: (path: string) => feed.held.get(path),
    ready: new Promise<void>((resolve, reject) => on(event => {
      if (event.type === 'state') resolve()
      if (event.type === 'status' && over(event.status)) reject(event.error ?? new OolithError(event.status, event.status))
    })),
    close() {
      if (!feed.listeners.delete(all)) return
      const status = ((live as { status: LiveStatus }).status = 'closed')
      all({ type: 'status', status })
      closed()
    },
  } as unknown as Live<T>
  feed.listeners.add(all)
  live.ready.catch(() => {}) // who does not wait for it is told by `status`
  if (listener) on(listener)
  signal?.addEventListener('abort', live.close)
  if (signal?.aborted) live.close()
  return live
}
