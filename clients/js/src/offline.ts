/**
 * A client that works without a connection: followed data is available immediately, and writes are kept until they are sent, across
 * reloads too. One tab of the browser sends them.
 *
 * @module
 */

import { OolithError, type Change, type Client, type Item, type Live, type LiveStatus } from './index.js'

/** A write that is kept until the server has made it. */
export interface Kept {
  /** Its position in the order of the writes. */
  readonly id: number
  /** Its Idempotency-Key. */
  readonly key: string
  readonly op: 'set' | 'merge' | 'del'
  readonly path: string
  readonly data?: unknown
  readonly ifMatch?: string | undefined
  readonly ifNoneMatch?: string | undefined
  readonly ttl?: number | string | undefined
  /** When it was first sent, in milliseconds; undefined if not yet. */
  readonly sent?: number
}

export interface KeepOptions {
  /** The etag of the object that may be overwritten, also of an item with `pending`. */
  ifMatch?: string | undefined
  ifNoneMatch?: string | undefined
  ttl?: number | string | undefined
}

export interface OfflineOptions {
  /** The name of the database in the browser, one for each server and user; default 'oolith'. */
  name?: string
  /**
   * Is called in the sending tab for a write that the server rejects. The write is rolled back, unless this returns what to
   * send instead. If a condition does not hold, `current` is the present object. An error of the kind 'expired': the write was sent
   * a day ago, and it is unknown whether it was made.
   */
  conflict?: (write: Kept, error: OolithError, current: Item<any> | undefined) => Instead | void | Promise<Instead | void>
  /** Milliseconds between attempts to send, by the number of failures. */
  backoff?: (failures: number) => number
}

/** What to send instead of a rejected write. */
export type Instead = Partial<Pick<Kept, 'op' | 'data' | 'ifMatch' | 'ifNoneMatch' | 'ttl'>>

/** An item, and whether it includes a write of this browser that the server has not made yet. */
export type Shown<T> = Item<T> & { pending?: true }

export interface OfflineLive<T> {
  readonly pattern: string
  /** Newest first. The same array until something changes. */
  readonly items: readonly Shown<T>[]
  readonly status: LiveStatus
  readonly error: OolithError | undefined
  /** Resolves once there is something to show: kept data, or the first state. */
  readonly ready: Promise<void>
  get(path: string): Shown<T> | undefined
  close(): void
}

export interface Offline extends Pick<Client, 'onStatus' | 'status' | 'wake'> {
  /** The object at a path with pending writes; without a connection, as it was last kept. */
  get<T = unknown>(path: string): Promise<Shown<T> | undefined>
  // A write resolves once it is kept on disk, not once the server has it.
  set(path: string, data: unknown, options?: KeepOptions): Promise<Kept>
  merge(path: string, change: unknown, options?: KeepOptions): Promise<Kept>
  del(path: string, options?: KeepOptions): Promise<Kept>
  /** Sets data under a new index, generated here, which replaces the `*`. */
  push(pattern: string, data: unknown, options?: Pick<KeepOptions, 'ttl'>): Promise<Kept>
  /** Follows a pattern: `listener` is called for each change of the shown data. */
  live<T = unknown>(pattern: string, listener?: () => void): OfflineLive<T>
  /** The kept writes, in order. */
  readonly pending: readonly Kept[]
  onPending(listener: () => void): () => unknown
  /** Whether this tab sends the writes. */
  readonly leads: boolean
  /** Resolves once no writes are pending. */
  flushed(): Promise<void>
  /** Stops it, but not the client. Kept data stays. */
  close(): void
}

/** The kept data of a pattern. */
interface Cached {
  token: string
  items: Item<any>[]
}

interface View {
  pattern: RegExp
  inner: Live<any> | undefined
  changed(): void
}

/** How long the server keeps an Idempotency-Key, minus an hour, in milliseconds. */
const known = 23 * 3600_000

const asked = <T>(request: IDBRequest<T>) =>
  new Promise<T>((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

const newKey = () => crypto.getRandomValues(new Uint32Array(4)).join('-')

/** The paths of a pattern. */
function matcher(pattern: string): RegExp {
  const deep = /(^|\/)\*\*$/.test(pattern)
  const source = (deep ? pattern.slice(0, -2) : pattern).replace(/\./g, '\\.').replace(/\*/g, '[^/]*')
  return new RegExp(`^${source}${deep ? '.+' : ''}$`)
}

/** Applies a JSON Merge Patch, RFC 7396. */
function merged(to: any, change: any): any {
  const isObject = (value: any) => typeof value === 'object' && value && !Array.isArray(value)
  if (!isObject(change)) return change
  const made = new Map(Object.entries(isObject(to) ? to : {}))
  for (const [name, value] of Object.entries(change)) value === null ? made.delete(name) : made.set(name, merged(made.get(name), value))
  return Object.fromEntries(made)
}

/** Returns a client that keeps followed data and writes. It uses the given client for everything else. */
export function offline(client: Client, { name = 'oolith', conflict, backoff = failures => Math.min(2 ** failures, 32) * (0.5 + Math.random()) * 1000 }: OfflineOptions = {}): Offline {
  const views = new Set<View>()
  const listeners = new Set<() => void>()
  const channel = new BroadcastChannel(`oolith ${name}`)
  let pending: readonly Kept[] = []
  let made: { write: Kept; revision: number }[] = [] // by the server, which did not tell it in all views yet
  let leads = false
  let open = true
  let wake = () => {}

  const opened = new Promise<IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open(`oolith ${name}`, 1)
    request.onupgradeneeded = () => {
      request.result.createObjectStore('outbox', { keyPath: 'id', autoIncrement: true })
      request.result.createObjectStore('cache')
    }
    asked(request).then(resolve, reject)
  })

  const failed = (error: unknown) => {
    if (open) Promise.reject(error) // which nobody handles
  }

  /** Runs a transaction on one object store. It is on disk when this resolves. */
  async function run<T>(store: 'outbox' | 'cache', mode: IDBTransactionMode, use: (store: IDBObjectStore) => Promise<T>): Promise<T> {
    const transaction = (await opened).transaction(store, mode, { durability: 'strict' })
    const done = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve()
      transaction.onabort = () => reject(transaction.error)
    })
    const [value] = await Promise.all([use(transaction.objectStore(store)), done])
    return value
  }

  /** Shows the writes in the outbox. */
  async function refresh(): Promise<void> {
    pending = await run('outbox', 'readonly', store => asked<Kept[]>(store.getAll()))
    made = made.filter(({ write, revision }) => [...views].some(({ pattern, inner }) => pattern.test(write.path) && (inner?.revision ?? 0) < revision))
    for (const { changed } of views) changed()
    for (const listener of [...listeners]) listener()
    wake()
  }

  /** Notifies all tabs, including this one, that the outbox changed, and what the server has made. */
  function changed(done?: { write: Kept; revision: number }): Promise<void> {
    channel.postMessage(done)
    if (done) made.push(done)
    return refresh()
  }
  channel.onmessage = ({ data }) => {
    if (data) made.push(data)
    refresh().catch(() => {}) // the tab that wrote knows
  }

  async function keep(write: Omit<Kept, 'id' | 'key'>): Promise<Kept> {
    if (/[^\w./-]|(^|\/)\.{0,2}(\/|$)/.test(write.path)) throw new OolithError('invalid-path', `"${write.path}": expected a path of A-Z a-z 0-9 - _ . between /`)
    const kept = { ...write, key: newKey() }
    const id = await run('outbox', 'readwrite', store => asked(store.add(kept)))
    await changed()
    return { ...kept, id: Number(id) }
  }

  /** The item after a write. */
  function after(item: Shown<any> | undefined, { op, path, data, id }: Kept): Shown<any> | undefined {
    if (op === 'del') return undefined
    const now = Date.now() * 1e6
    return {
      path, index: path.split('/').pop()!, created: now, revision: 0, ...item, updated: item ? now : 0,
      etag: `pending ${id}`, data: op === 'merge' ? merged(item?.data, data) : data, pending: true,
    }
  }

  /** The writes that a view at a revision does not include. */
  const missing = (revision: number) => [...made.filter(done => done.revision > revision).map(({ write }) => write), ...pending]

  function show(items: readonly Item<any>[], writes: Kept[]): readonly Shown<any>[] {
    if (!writes[0]) return items
    const shown = new Map<string, Shown<any>>(items.map(item => [item.path, item] as const).reverse())
    for (const write of writes) {
      const item = after(shown.get(write.path), write)
      item ? shown.set(write.path, item) : shown.delete(write.path)
    }
    return [...shown.values()].reverse()
  }

  /** Sends a write and returns the outcome. */
  async function send({ op, path, data, ifMatch, ifNoneMatch, ttl, key }: Kept): Promise<{ revision: number; etag?: string }> {
    const change = op === 'del' ? { op: 'delete', path, ifMatch } : { op, path, data, ifMatch, ifNoneMatch, ttl }
    try {
      return (await client.batch([change as Change], { idempotencyKey: key }))[0]!
    } catch (error) {
      if (op === 'del' && (error as OolithError).kind === 'not-found') return { revision: 0 } // it is as it was asked for
      throw error
    }
  }

  /** Sends the kept writes in order while this tab leads. */
  async function lead(): Promise<void> {
    leads = true
    await refresh()
    for (let failures = 0; open; ) {
      const [write] = pending
      if (!write) {
        await new Promise<void>(resolve => (wake = resolve))
        continue
      }
      let next: Instead | void = undefined
      let etag = '"-"' // of nothing
      let revision = 0
      try {
        // After that, the server has forgotten the key.
        if (write.sent! < Date.now() - known) throw new OolithError('expired', `${write.path}: it was sent a day ago, and may have been made`, undefined, 410)
        if (!write.sent) await run('outbox', 'readwrite', store => asked(store.put({ ...write, sent: Date.now() })))
        const written = await send(write)
        revision = written.revision
        etag = written.etag ?? etag
        failures = 0
      } catch (cause) {
        let error = cause as OolithError
        let current: Item | undefined
        try {
          if (error.kind === 'condition-failed') current = await client.get(write.path)
        } catch (cause) {
          error = cause as OolithError // it is sent again
        }
        const { status } = error
        if (!open) return
        if (!(status >= 400 && status < 500) || [401, 408, 429].includes(status)) {
          const again = setTimeout(() => wake(), backoff(failures++))
          const off = client.onStatus(({ state }) => state === 'live' && wake())
          await new Promise<void>(resolve => (wake = resolve))
          clearTimeout(again)
          off()
          continue
        }
        try {
          next = await conflict?.(write, error, current)
        } catch (error) {
          failed(error)
        }
      }
      await run('outbox', 'readwrite', async store => {
        const { id, sent, ...rest } = write
        if (next) await asked(store.put({ ...rest, ...next, id, key: newKey() }))
        else {
          await asked(store.delete(id))
          // The writes that depend on it.
          for (const later of await asked<Kept[]>(store.getAll())) {
            if (later.ifMatch === `pending ${id}`) await asked(store.put({ ...later, ifMatch: etag }))
          }
        }
      })
      await changed(revision ? { write, revision } : undefined)
    }
  }
  let release = () => {}
  const held = new Promise<void>(resolve => (release = resolve))
  void navigator.locks.request(`oolith ${name}`, () => open && Promise.race([held, lead()])).catch(failed)
  const online = () => wake()
  addEventListener('online', online)
  refresh().catch(failed)

  return {
    get status() { return client.status },
    onStatus: client.onStatus,
    wake() {
      client.wake()
      wake()
    },
    get pending() { return pending },
    get leads() { return leads },
    onPending(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    set: (path, data, options) => keep({ ...options, op: 'set', path, data }),
    merge: (path, data, options) => keep({ ...options, op: 'merge', path, data }),
    del: (path, options) => keep({ ...options, op: 'del', path }),
    push(pattern, data, options) {
      const index = (BigInt(Date.now()) * 1_000_000n + BigInt(Math.floor(Math.random() * 1e6))).toString(16)
      return keep({ ...options, op: 'set', path: pattern.replace(/\*$/, index), data, ifNoneMatch: '*' })
    },
    async get(path) {
      await refresh()
      let item: Item<any> | undefined
      try {
        item = await client.get(path)
      } catch (error) {
        if ((error as OolithError).kind !== 'network') throw error
        const cached = await run('cache', 'readonly', store => asked<Cached[]>(store.getAll()))
        item = cached.flatMap(({ items }) => items).filter(item => item.path === path).sort((a, b) => b.revision - a.revision)[0]
      }
      return missing(Infinity).filter(write => write.path === path).reduce(after, item)
    },
    live<T>(pattern: string, listener?: () => void): OfflineLive<T> {
      let items: readonly Shown<T>[] | undefined
      let saving: ReturnType<typeof setTimeout> | undefined
      let closed = false
      const view: View = {
        pattern: matcher(pattern),
        inner: undefined,
        changed() {
          items = undefined
          if (!closed) listener?.()
        },
      }
      const save = () => {
        const { token, items } = view.inner!
        saving = undefined
        if (token) run('cache', 'readwrite', store => asked(store.put({ token, items: [...items] }, pattern))).catch(failed)
      }
      const ready = (async () => {
        const cached = await run('cache', 'readonly', store => asked<Cached | undefined>(store.get(pattern)))
        if (closed) return
        view.inner = client.live<T>(pattern, event => {
          if (event.type === 'state' || event.type === 'change') saving ??= setTimeout(save, 200)
          view.changed()
        }, cached && { since: cached.token, items: cached.items, whole: true })
        view.changed()
        if (!cached) await view.inner.ready
      })()
      ready.catch(() => {}) // who does not wait for it is told by `status`
      views.add(view)
      return {
        pattern, ready,
        get items() { return (items ??= show(view.inner?.items ?? [], missing(view.inner?.revision ?? 0).filter(write => view.pattern.test(write.path)))) },
        get status() { return closed ? 'closed' : (view.inner?.status ?? 'waiting') },
        get error() { return view.inner?.error },
        get(path) { return this.items.find(item => item.path === path) },
        close() {
          closed = true
          views.delete(view)
          view.inner?.close()
        },
      }
    },
    async flushed() {
      await refresh()
      while (pending[0]) {
        await new Promise<void>(resolve => {
          const look = () => {
            listeners.delete(look)
            resolve()
          }
          listeners.add(look)
        })
      }
    },
    close() {
      open = leads = false
      removeEventListener('online', online)
      release()
      wake()
      channel.close()
      for (const view of views) view.inner?.close()
      views.clear()
    },
  }
}
