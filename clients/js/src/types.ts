import type { OolithError } from './error.js'

/** An object of the store. */
export interface Item<T = unknown> {
  path: string
  /** The last segment of the path. */
  index: string
  /** Unix nanoseconds, which JavaScript rounds to about 256 of them: `new Date(item.created / 1e6)`. */
  created: number
  /** Unix nanoseconds; 0 until it is overwritten. */
  updated: number
  /** The position of the object's last change in the store's commit order. */
  revision: number
  /** Unix nanoseconds, if the object expires. */
  expires?: number
  /** A value for `ifMatch`: exactly this version of the object. */
  etag: string
  data: T
}

/** The result of a write. */
export interface Written {
  path: string
  index: string
  revision: number
  etag: string
}

/** The result of a change of a batch. */
export interface BatchResult {
  /** 201 for a new object, 200 for an existing one, 204 for a delete. */
  status: number
  path: string
  index: string
  revision: number
  /** Not for a delete. */
  etag?: string
}

export interface Options {
  /** The token for the server, or a function that returns it before each request and connection. */
  token?: string | undefined | (() => string | undefined | Promise<string | undefined>)
  /** Checks all received data, and the data that `set`, `push` and such changes of a batch send. It returns the data to use, or throws. */
  validate?: (path: string, data: unknown) => unknown
  /** How often a request is retried if there is no answer or the server is busy; default 4. With 0, writes have no Idempotency-Key. */
  retries?: number
  /** Milliseconds for one attempt of a request; default 30,000. */
  timeout?: number
  /** Milliseconds to wait after a number of consecutive failures, from 0; a request waits a tenth. By default a random 1 to 4 s, doubling with each failure up to 32 s. */
  backoff?: (failures: number) => number
  fetch?: typeof fetch
  /** The WebSocket class, if the runtime has none; null for server-sent events only. */
  WebSocket?: SocketClass | null
}

/** The used part of the WebSocket class. */
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
  /** Aborts the call. It is then unknown whether a write was made. */
  signal?: AbortSignal | undefined
}

export interface WriteOptions extends CallOptions {
  /** Overwrites only the object with this etag; `'*'`: only an existing object. */
  ifMatch?: string | undefined
  /** `'*'`: writes only if there is no object. */
  ifNoneMatch?: string | undefined
  /** Time to live: seconds, or a text such as `'90m'`, `'12h'`, `'7d'`. */
  ttl?: number | string | undefined
  /** A write with this key is made once within a day, however often it is sent. By default a random one. */
  idempotencyKey?: string | undefined
}

export interface PageOptions extends CallOptions {
  /** Maximum number of items, 1 to 10,000; default 100. */
  limit?: number | undefined
  /** The `next` of the previous page. */
  cursor?: string | undefined
  /** The number of objects to skip. */
  at?: number | undefined
  order?: 'asc' | 'desc' | undefined
  /** Limits of `created`, both inclusive: a Date, Unix nanoseconds, or a time such as `'2026-01-31T12:00:00Z'`. */
  from?: Date | number | string | undefined
  to?: Date | number | string | undefined
}

export interface Page<T> {
  /** Newest first by default. */
  items: Item<T>[]
  /** The cursor of the next page; undefined at the end. */
  next: string | undefined
  /** The position in the commit order at which the page was read: `live` with `since` continues from there. */
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

/** A change of one object. `before` is the previous item. */
export type LiveChange<T> =
  | { type: 'set'; path: string; item: Item<T>; before: Item<T> | undefined }
  | { type: 'del'; path: string; item: undefined; before: Item<T> | undefined }

/** An event for a listener of `live`. */
export type LiveEvent<T> =
  /** The whole state, which replaces the previous one. `reset` is the reason if it is not the first state. */
  | { type: 'state'; items: readonly Item<T>[]; revision: number; reset?: string | undefined }
  /** The changes of one commit, in order. After a lost connection, all missed changes may be one event. */
  | { type: 'change'; changes: LiveChange<T>[]; revision: number }
  /** `status` changed. */
  | { type: 'status'; status: LiveStatus; error?: OolithError | undefined }
  /** `validate` rejected an object, which is skipped. */
  | { type: 'invalid'; path: string; error: OolithError }

/**
 * `waiting` for the first state; `live`; `stale`: the connection is lost, and the data is from before that;
 * `failed`: the server rejects it, see `error`; `closed`.
 */
export type LiveStatus = 'waiting' | 'live' | 'stale' | 'failed' | 'closed'

export interface LiveOptions<T> extends CallOptions {
  /** Resumes from this token, with `items` as the items at it, and without a state. */
  since?: string | undefined
  /** Newest first. */
  items?: readonly Item<T>[] | undefined
  /** `items` are the whole state at the token, not a part of it. */
  whole?: boolean | undefined
}

/** A followed pattern. */
export interface Live<T> {
  readonly pattern: string
  /** Newest first. An immutable array; a change creates a new one. */
  readonly items: readonly Item<T>[]
  readonly status: LiveStatus
  /** Why it failed. */
  readonly error: OolithError | undefined
  /** The position in the commit order up to which `items` is complete. */
  readonly revision: number
  /** Where another `live` can resume, with `since`; undefined before the first state. */
  readonly token: string | undefined
  /** Resolves with the first state; rejects if the server rejects it or it is closed. */
  readonly ready: Promise<void>
  get(path: string): Item<T> | undefined
  /** Adds a listener, which gets the state immediately if there is one. Returns a function that removes it. */
  on(listener: (event: LiveEvent<T>) => void): () => unknown
  close(): void
}

/** The state of the connection of all `live`. */
export interface Status {
  /** `idle`: nothing is followed; `waiting`: before the next attempt; `failed`: rejected by the server, until `wake`. */
  readonly state: 'idle' | 'connecting' | 'live' | 'waiting' | 'failed' | 'closed'
  /** Since when, in milliseconds like `Date.now()`. */
  readonly since: number
  /** While it is live. */
  readonly transport?: 'socket' | 'events' | undefined
  /** The reason if it is waiting or failed. */
  readonly error?: OolithError | undefined
}

/** The calls of a store. All reject with an OolithError, or with the reason of the signal. */
export interface Client {
  readonly url: string
  /** Returns the object at a path; undefined if there is none. */
  get<T = unknown>(path: string, options?: CallOptions): Promise<Item<T> | undefined>
  /** Stores data at a path. */
  set(path: string, data: unknown, options?: WriteOptions): Promise<Written>
  /** Stores data under a new index, which replaces the `*` at the end of the pattern. */
  push(pattern: string, data: unknown, options?: Omit<WriteOptions, 'ifMatch' | 'ifNoneMatch'>): Promise<Written>
  /** Changes an object with a JSON Merge Patch: null removes a member. Creates the object if there is none. */
  merge(path: string, change: unknown, options?: WriteOptions): Promise<Written>
  /** Changes an object with a JSON Patch, completely or not at all. */
  patch(path: string, operations: Operation[], options?: WriteOptions): Promise<Written>
  /** Deletes the object at a path; false if there is none. Or atomically all objects that match a pattern. */
  del(path: string, options?: Omit<WriteOptions, 'ttl' | 'ifNoneMatch'>): Promise<boolean>
  /** Makes all changes or none. */
  batch(changes: Change[], options?: Omit<WriteOptions, 'ttl' | 'ifMatch' | 'ifNoneMatch'>): Promise<BatchResult[]>
  /** Returns a page of the objects that match a pattern. */
  page<T = unknown>(pattern: string, options?: PageOptions): Promise<Page<T>>
  /** Follows a path or pattern: the state, then every change. */
  live<T = unknown>(pattern: string, listener?: (event: LiveEvent<T>) => void, options?: LiveOptions<T>): Live<T>
  readonly status: Status
  /** Adds a listener of `status`. Returns a function that removes it. */
  onStatus(listener: (status: Status) => void): () => unknown
  /** Connects immediately if it waits or failed; otherwise checks whether the connection is alive. */
  wake(): void
  /** Ends all `live`. */
  close(): void
}
