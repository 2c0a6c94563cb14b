import type { OolithError } from './error.js'

/** An object of the store. */
export interface Item<T = unknown> {
  path: string
  /** The last segment of the path. */
  index: string
  /** Unix nanoseconds, which JavaScript rounds to about 256 of them: `new Date(item.created / 1e6)`. */
  created: number
  /** Unix nanoseconds; 0 until the second write. */
  updated: number
  /** The place of the object's last change in the commit order of the store. */
  revision: number
  /** Unix nanoseconds, where the object ends by itself. */
  expires?: number
  /** What `ifMatch` takes: this object as it is here, and no other. */
  etag: string
  data: T
}

/** What a write made. */
export interface Written {
  path: string
  index: string
  revision: number
  etag: string
}

/** What a change of a batch made. */
export interface BatchResult {
  /** 201 for a new object, 200 for one that was there, 204 for a delete. */
  status: number
  path: string
  index: string
  revision: number
  /** Not of a delete. */
  etag?: string
}

export interface Options {
  /** The token of the server, or what returns it before each request and connection. */
  token?: string | undefined | (() => string | undefined | Promise<string | undefined>)
  /** Is given all data that comes in, and what `set`, `push` and such changes of a batch send. It returns what stands for it, or throws. */
  validate?: (path: string, data: unknown) => unknown
  /** How often a request is sent again that got no answer, or that the server is busy; 4. With 0, writes have no Idempotency-Key. */
  retries?: number
  /** Milliseconds for one attempt of a request; 30,000. */
  timeout?: number
  /** Milliseconds to wait after so many failures in a row, from 0; a request waits a tenth. 1 to 4 s at random, twice that after each failure, up to 32 s. */
  backoff?: (failures: number) => number
  fetch?: typeof fetch
  /** The class of the sockets, where there is none of the runtime; null for server-sent events only. */
  WebSocket?: SocketClass | null
}

/** As much of the WebSocket class as is used. */
export interface SocketClass {
  new (url: string, protocols: string[]): {
    onmessage: ((event: any) => void) | null
    onclose: ((event: any) => void) | null
    onerror: ((event: any) => void) | null
    send(text: string): void
    close(): void
  }
}

/** Options of each call. */
export interface CallOptions {
  /** Ends the call. Whether a write was made is not known then. */
  signal?: AbortSignal | undefined
}

export interface WriteOptions extends CallOptions {
  /** Writes only over what has this etag; `'*'`: only over what is there. */
  ifMatch?: string | undefined
  /** `'*'`: writes only where nothing is. */
  ifNoneMatch?: string | undefined
  /** How long the object lives: seconds, or such as `'90m'`, `'12h'`, `'7d'`. */
  ttl?: number | string | undefined
  /** A write with this key is made once in a day, however often it is sent. One at random when none is given. */
  idempotencyKey?: string | undefined
}

export interface PageOptions extends CallOptions {
  /** At most so many items, 1 to 10,000; 100. */
  limit?: number | undefined
  /** The `next` of the page before. */
  cursor?: string | undefined
  /** How many objects come before the first. */
  at?: number | undefined
  order?: 'asc' | 'desc' | undefined
  /** Bounds of `created`, both inclusive: a Date, Unix nanoseconds, or a time such as `'2026-01-31T12:00:00Z'`. */
  from?: Date | number | string | undefined
  to?: Date | number | string | undefined
}

export interface Page<T> {
  /** Newest first, unless asked for otherwise. */
  items: Item<T>[]
  /** The cursor of what follows; undefined at the end. */
  next: string | undefined
  /** The place in the commit order at which the page was read: `live` with `since` goes on from there. */
  token: string
}

/** A change of a batch. */
export type Change =
  | { op: 'set'; path: string; data: unknown; ifMatch?: string; ifNoneMatch?: string; ttl?: number | string }
  | { op: 'push'; path: string; data: unknown; ttl?: number | string }
  | { op: 'merge'; path: string; data: unknown; ifMatch?: string; ifNoneMatch?: string; ttl?: number | string }
  | { op: 'patch'; path: string; data: Operation[]; ifMatch?: string; ttl?: number | string }
  | { op: 'delete'; path: string; ifMatch?: string }

/** An operation of a JSON Patch, RFC 6902. */
export type Operation =
  | { op: 'add' | 'replace' | 'test'; path: string; value: unknown }
  | { op: 'remove'; path: string }
  | { op: 'move' | 'copy'; from: string; path: string }

/** What changed of one object. `before` is what was held until then. */
export type LiveChange<T> =
  | { type: 'set'; path: string; item: Item<T>; before: Item<T> | undefined }
  | { type: 'del'; path: string; item: undefined; before: Item<T> | undefined }

/** What a listener of `live` gets. */
export type LiveEvent<T> =
  /** All there is, in place of all that was held. `reset` says why it is not the first time. */
  | { type: 'state'; items: readonly Item<T>[]; revision: number; reset?: string | undefined }
  /** What one commit changed, in its order; after a connection that was lost, what changed meanwhile may be one. */
  | { type: 'change'; changes: LiveChange<T>[]; revision: number }
  /** `status` changed. */
  | { type: 'status'; status: LiveStatus; error?: OolithError | undefined }
  /** `validate` refused an object, which is left out. */
  | { type: 'invalid'; path: string; error: OolithError }

/**
 * `waiting` for the first state; `live`; `stale`: the connection is lost, and what is held is as of then;
 * `failed`: the server refuses, see `error`; `closed`.
 */
export type LiveStatus = 'waiting' | 'live' | 'stale' | 'failed' | 'closed'

export interface LiveOptions<T> extends CallOptions {
  /** Goes on from this token, with `items` as what is held at it, and without a state. */
  since?: string | undefined
  /** Newest first. */
  items?: readonly Item<T>[] | undefined
  /** `items` are all there is at the token, and no part of it. */
  whole?: boolean | undefined
}

/** A pattern that is followed. */
export interface Live<T> {
  readonly pattern: string
  /** Newest first. The same array until something changes, and never changed itself. */
  readonly items: readonly Item<T>[]
  readonly status: LiveStatus
  /** Why it failed. */
  readonly error: OolithError | undefined
  /** Up to which place in the commit order `items` has all. */
  readonly revision: number
  /** Where to go on from in another `live`, by `since`; undefined before the first state. */
  readonly token: string | undefined
  /** Is fulfilled with the first state, and rejected when the server refuses or it is closed. */
  readonly ready: Promise<void>
  get(path: string): Item<T> | undefined
  /** Adds a listener, which gets the state at once if there is one. Returns what removes it. */
  on(listener: (event: LiveEvent<T>) => void): () => unknown
  close(): void
}

/** How the connection of all `live` is. */
export interface Status {
  /** `idle`: nothing is followed; `waiting`: the next attempt is to come; `failed`: the server refuses, until `wake`. */
  readonly state: 'idle' | 'connecting' | 'live' | 'waiting' | 'failed' | 'closed'
  /** Since when, in milliseconds as of `Date.now()`. */
  readonly since: number
  /** While it is live. */
  readonly transport?: 'socket' | 'events' | undefined
  /** Why it is waiting or failed. */
  readonly error?: OolithError | undefined
}

/** The calls of a store. All reject with an OolithError, or with the reason of the signal. */
export interface Client {
  readonly url: string
  /** The object at a path; undefined if there is none. */
  get<T = unknown>(path: string, options?: CallOptions): Promise<Item<T> | undefined>
  /** Stores data at a path. */
  set(path: string, data: unknown, options?: WriteOptions): Promise<Written>
  /** Stores data under a new index in place of the `*` at the end of the pattern. */
  push(pattern: string, data: unknown, options?: Omit<WriteOptions, 'ifMatch' | 'ifNoneMatch'>): Promise<Written>
  /** Changes members of an object by a JSON Merge Patch: null removes one. Makes the object if there is none. */
  merge(path: string, change: unknown, options?: WriteOptions): Promise<Written>
  /** Changes an object by a JSON Patch, whole or not at all. */
  patch(path: string, operations: Operation[], options?: WriteOptions): Promise<Written>
  /** Removes the object at a path: false if there is none. Or all that match a pattern, at once. */
  del(path: string, options?: Omit<WriteOptions, 'ttl' | 'ifNoneMatch'>): Promise<boolean>
  /** Makes all changes, or none. */
  batch(changes: Change[], options?: Omit<WriteOptions, 'ttl' | 'ifMatch' | 'ifNoneMatch'>): Promise<BatchResult[]>
  /** A part of what matches a pattern. */
  page<T = unknown>(pattern: string, options?: PageOptions): Promise<Page<T>>
  /** Follows what matches a path or pattern: the state, then every change. */
  live<T = unknown>(pattern: string, listener?: (event: LiveEvent<T>) => void, options?: LiveOptions<T>): Live<T>
  readonly status: Status
  /** Adds a listener of `status`. Returns what removes it. */
  onStatus(listener: (status: Status) => void): () => unknown
  /** Connects at once if it waits or failed, and else looks whether the connection is alive. */
  wake(): void
  /** Ends all `live`. */
  close(): void
}
