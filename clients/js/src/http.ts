// Requests, answers and retries.

import { OolithError } from './error.js'
import type { Options } from './types.js'

/** A request. */
export interface Asked {
  method?: string
  body?: string
  headers?: Record<string, string | undefined>
  signal?: AbortSignal | undefined
}

export interface Answer {
  headers: Headers
  text: string
}

/** A client's options and derived values. */
export interface Context extends Options {
  base: string
  backoff: (failures: number) => number
  bearer(): Promise<string | undefined>
  /** The item as `validate` returns it, or an error of the kind 'invalid-data'. */
  check<I extends { path: string; data?: unknown }>(item: I): I
}

/** Removes undefined members. */
export const defined = <T>(members: T): T => JSON.parse(JSON.stringify(members))

/** Checks the grammar, so a path cannot become another one in a URL, and whether it is a pattern, if it must or must not be one. */
export function checkPath(path: string, pattern?: boolean): string {
  if (/[^\w./*-]|(^|\/)\.{0,2}(\/|$)/.test(path) || pattern === !path.includes('*')) {
    throw new OolithError('invalid-path', `"${path}": expected a ${pattern ? 'pattern' : 'path'} of A-Z a-z 0-9 - _ . between /`)
  }
  return path
}

/** Sends one request. */
export async function send(context: Context, target: string, { headers, ...asked }: Asked): Promise<Response> {
  const { fetch = globalThis.fetch } = context
  const token = await context.bearer()
  return fetch(context.base + target, {
    ...asked, headers: defined({ Accept: 'application/vnd.oolith+json', Authorization: token && `Bearer ${token}`, ...headers }) as Record<string, string>,
  } as RequestInit)
}

/** Builds an error from an answer. */
export function errorOf({ status, headers }: Response, text: string): OolithError {
  let problem: Record<string, any> = {}
  try {
    problem = JSON.parse(text)
  } catch {} // it is a proxy's
  const kind = `${problem.type}`.split('#')[1] || ''
  return new OolithError(kind, `${status} ${kind}: ${problem.detail || text.slice(0, 99)}`, undefined, status, problem, headers.get('x-request-id') || '')
}

/** Sends a request, with retries if useful. A request that may have been made is retried only if that is safe. */
export async function call(context: Context, target: string, asked: Asked, exact = true): Promise<Answer> {
  const { retries = 4, timeout = 30_000, backoff } = context
  const { signal = new AbortController().signal } = asked
  for (let attempt = 0; ; attempt++) {
    let error: OolithError
    let again = exact
    let wait = 0
    try {
      const response = await send(context, target, { ...asked, signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]) })
      const { headers, ok, status } = response
      const text = await response.text()
      if (ok) return { headers, text }
      error = errorOf(response, text)
      // The server's own "busy" means that nothing was done; a proxy's is like no answer.
      again = (exact || !!error.kind) && error.kind !== 'read-only' && [429, 502, 503, 504].includes(status)
      wait = +headers.get('retry-after')! * 1000
    } catch (cause) {
      signal.throwIfAborted()
      error = new OolithError('network', `no answer: ${cause}`, cause)
    }
    error.message = `${asked.method ?? 'GET'} ${target}: ${error.message}`
    if (!again || attempt >= retries) throw error
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, Math.max(wait || 0, backoff(attempt) / 10))
      signal.addEventListener('abort', () => {
        clearTimeout(timer)
        reject(signal.reason)
      })
    })
  }
}
