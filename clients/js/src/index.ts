/**
 * The client of Oolith, a real-time JSON store.
 *
 *     const store = connect('http://127.0.0.1:8800')
 *     await store.set('places/lisbon', { trams: 57 })
 *     store.live('places/*', event => console.log(event))
 *
 * @module
 */

import { OolithError } from './error.js'
import { feedOf, view, type Feed } from './feed.js'
import { call, checkPath, defined, type Context } from './http.js'
import { link } from './link.js'
import type { Client, Item, Options, PageOptions, Written, WriteOptions } from './types.js'

export { OolithError, type Kind } from './error.js'
export type * from './types.js'

/** Returns a client of the server at an address such as http://127.0.0.1:8800. It sends nothing until it is asked to. */
export function connect(url: string, options: Options = {}): Client {
  const { token, validate } = options
  const context: Context = {
    fetch: (...asked) => fetch(...asked),
    backoff: failures => Math.min(2 ** failures, 8) * (1 + 3 * Math.random()) * 1000,
    ...options,
    base: new URL(url, globalThis.location?.href).href.replace(/\/?([?#].*)?$/, ''),
    bearer: async () => (typeof token === 'function' ? token() : token),
    check(item) {
      if (!validate) return item
      try {
        return { ...item, data: validate(item.path, item.data) }
      } catch (cause) {
        throw new OolithError('invalid-data', `${item.path}: ${cause}`, cause)
      }
    },
  }
  const { calls, add, remove } = link(context)
  const shared = new Map<string, Feed>()
  const views = new Map<Feed, number>()
  let ids = 0

  /** Sends a write. */
  function write(method: string, target: string, data: unknown, { ifMatch, ifNoneMatch, ttl, signal, idempotencyKey }: WriteOptions = {}, type = 'application/json') {
    // What is deleted by a pattern takes no key: sent twice, it could delete more.
    if (options.retries !== 0 && !(method === 'DELETE' && target.includes('*'))) {
      idempotencyKey ??= crypto.getRandomValues(new Uint32Array(4)).join('-')
    }
    return call(context, target, {
      method,
      body: JSON.stringify(data),
      headers: {
        'Content-Type': data === undefined ? data : type,
        'If-Match': ifMatch,
        'If-None-Match': ifNoneMatch,
        'Oolith-TTL': ttl?.toString(),
        // The problem of a condition has the object that is there.
        Prefer: ifMatch || ifNoneMatch ? 'return=representation' : undefined,
        'Idempotency-Key': idempotencyKey,
      },
      signal,
    }, !!idempotencyKey)
  }

  async function written(method: string, path: string, data: unknown, options?: WriteOptions, type?: string): Promise<Written> {
    const { headers } = await write(method, '/' + checkPath(path, method === 'POST'), data, options, type)
    const made = headers.get('location')?.slice(1) ?? path
    const etag = headers.get('etag')!
    return { path: made, index: made.split('/').pop()!, etag, revision: parseInt(etag.split('-')[1]!) }
  }

  /** Is undefined where a request finds nothing. */
  const found = <T>(request: Promise<T>): Promise<T | undefined> =>
    request.catch(error => {
      if (error.kind !== 'not-found') throw error
      return undefined
    })

  return Object.defineProperties({
    async get(path, { signal } = {}) {
      const answer = await found(call(context, '/' + checkPath(path), { signal }))
      return answer && context.check({ ...JSON.parse(answer.text), etag: answer.headers.get('etag') })
    },
    set: async (path, data, options) => written('PUT', path, context.check({ path, data }).data, options),
    push: async (path, data, options) => written('POST', path, context.check({ path, data }).data, options),
    merge: async (path, change, options) => written('PATCH', path, change, options, 'application/merge-patch+json'),
    patch: async (path, operations, options) => written('PATCH', path, operations, options, 'application/json-patch+json'),
    del: async (path, options) => !!(await found(write('DELETE', '/' + checkPath(path, true), undefined, options))),
    async batch(changes, options) {
      const checked = changes.map(change => (/set|push/.test(change.op) ? context.check(change) : change))
      return JSON.parse((await write('POST', '/~/batch', { changes: checked }, options)).text).results
    },
    async page<T>(pattern: string, { signal, limit = 100, from, to, ...rest }: PageOptions = {}) {
      // A Date is written as the server reads it.
      const query = new URLSearchParams(defined({ ...rest, limit, from, to } as object) as Record<string, string>)
      const { text, headers } = await call(context, `/${checkPath(pattern, true)}?${query}`, { signal })
      const [store, revision] = headers.get('etag')!.slice(1, -1).split('-')
      return {
        items: JSON.parse(text).map((item: Item<T>) => context.check({ ...item, etag: `"${store}-${item.revision}"` })),
        next: new URLSearchParams(headers.get('link')?.split(/[?>]/)[1]).get('cursor') ?? undefined,
        token: `${store}.${revision}`,
      }
    },
    live(pattern, listener, options = {}) {
      checkPath(pattern, true)
      const kept = options.since ? undefined : shared.get(pattern)
      const feed = kept ?? feedOf(++ids, pattern, context, options)
      if (!kept) add(feed)
      if (!options.since) shared.set(pattern, feed)
      views.set(feed, (views.get(feed) ?? 0) + 1)
      return view(feed, listener, options.signal, () => {
        // Who closes may be about to come back: React does that.
        setTimeout(() => {
          const left = views.get(feed)! - 1
          views.set(feed, left)
          if (left) return
          views.delete(feed)
          if (shared.get(pattern) === feed) shared.delete(pattern)
          remove(feed)
        })
      })
    },
  } satisfies Partial<Client>, Object.getOwnPropertyDescriptors(calls)) as Client
}
