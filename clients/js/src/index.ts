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
import { feedOf, tagged, view, type Feed } from './feed.js'
import { call, checkPath, defined, type Context } from './http.js'
import { link } from './link.js'
import type { Client, Item, Options, PageOptions, Written, WriteOptions } from './types.js'

export { OolithError, type Kind } from './error.js'
export type * from './types.js'

/** Returns a client for the server at an address such as http://127.0.0.1:8800. It sends nothing until the first call. */
export function connect(url: string, options: Options = {}): Client {
  const { token, validate } = options
  const context: Context = {
    backoff: failures => Math.min(2 ** failures, 8) * (1 + 3 * Math.random()) * 1000,
    ...options,
    base: new URL(url, globalThis.location?.href).href.replace(/\/$/, ''),
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
  const { client, add, remove } = link(context)
  const shared = new Map<unknown, Feed>()
  let ids = 0

  /** Sends a write. */
  function write(method: string, target: string, data: unknown, { ifMatch, ifNoneMatch, ttl, signal, idempotencyKey }: WriteOptions = {}, type = 'application/json') {
    // A delete of a pattern has no key: sent twice, it could delete more.
    if (options.retries !== 0 && !(method === 'DELETE' && target.includes('*'))) {
      idempotencyKey ??= crypto.getRandomValues(new Uint32Array(4)).join('-')
    }
    return call(context, target, {
      method,
      body: JSON.stringify(data),
      headers: {
        'Content-Type': type,
        'If-Match': ifMatch,
        'If-None-Match': ifNoneMatch,
        'Oolith-TTL': ttl as string,
        // The problem of a failed condition has the present object.
        Prefer: ifMatch || ifNoneMatch ? 'return=representation' : undefined,
        'Idempotency-Key': idempotencyKey,
      },
      signal,
    }, !!idempotencyKey)
  }

  async function written(method: string, path: string, data: unknown, options?: WriteOptions, type?: string): Promise<Written> {
    const { headers } = await write(method, '/' + checkPath(path, method === 'POST'), data, options, type)
    const made = headers.get('location')?.slice(1) || path
    const etag = headers.get('etag')!
    return { path: made, index: made.split('/').pop()!, etag, revision: parseInt(etag.split('-')[1]!) }
  }

  /** Returns undefined if a request finds nothing. */
  const found = <T>(request: Promise<T>): Promise<T | undefined> =>
    request.catch(error => {
      if (error.kind !== 'not-found') throw error
      return undefined
    })

  const put = (method: string) => async (path: string, data: unknown, options?: WriteOptions) =>
    written(method, path, context.check({ path, data }).data, options)
  const change = (kind: string) => async (path: string, data: unknown, options?: WriteOptions) =>
    written('PATCH', path, data, options, `application/${kind}-patch+json`)

  return Object.assign(client, {
    async get(path, { signal } = {}) {
      const answer = await found(call(context, '/' + checkPath(path, false), { signal }))
      return answer && context.check({ ...JSON.parse(answer.text), etag: answer.headers.get('etag') })
    },
    set: put('PUT'),
    push: put('POST'),
    merge: change('merge'),
    patch: change('json'),
    del: async (path, options) => !!(await found(write('DELETE', '/' + checkPath(path), undefined, options))),
    async batch(changes, options) {
      const checked = changes.map(change => (/set|push/.test(change.op) ? context.check(change) : change))
      return JSON.parse((await write('POST', '/~/batch', { changes: checked }, options)).text).results
    },
    async page<T>(pattern: string, { signal, limit = 100, from, to, ...rest }: PageOptions = {}) {
      // A Date in the server's format.
      const query = new URLSearchParams(defined({ ...rest, limit, from, to } as object) as Record<string, string>)
      const { text, headers } = await call(context, `/${checkPath(pattern, true)}?${query}`, { signal })
      const token = `${headers.get('etag')!.slice(1).split('-')[0]}.${headers.get('oolith-revision')}`
      return {
        items: JSON.parse(text).map((item: Item<T>) => context.check(tagged(item, token))),
        next: new URLSearchParams(headers.get('link')?.split(/[?>]/)[1]).get('cursor') || undefined,
        token,
      }
    },
    live(pattern, listener, options = {}) {
      checkPath(pattern)
      const key = options.since ? {} : pattern
      const feed = shared.get(key) ?? feedOf(++ids, pattern, context, options)
      shared.set(key, feed)
      add(feed)
      // A closed subscription may be reopened immediately, as React does.
      return view(feed, listener, options.signal, () => setTimeout(() => {
        if (feed.listeners.size) return
        shared.delete(key)
        remove(feed)
      }))
    },
  } satisfies Partial<Client>) as Client
}
