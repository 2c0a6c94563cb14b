// Requests: what goes out, what comes back, and when it is sent again.

import { OolithError } from './error.js'
import type { Options } from './types.js'

/** What a request asks for. */
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

/** A client's options and what follows from them. */
export interface Context extends Options {
  base: string
  backoff: (failures: number) => number
  bearer(): Promise<string | undefined>
  /** The item as `validate` has it, or an error of the kind 'invalid-data'. */
  check<I extends { path: string; data?: unknown }>(item: I): I
}

/** Without the members that are undefined. */
export const defined = <T>(members: T): T => JSON.parse(JSON.stringify(members))

/** Checks the grammar, so that no path leads to another one as a part of a URL, and whether it is a pattern, where it must or must not be. */
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

/** Makes an error of an answer. */
export function errorOf({ status, headers }: Response, text: string): OolithError {
  let problem: Record<string, any> = {}
  try {
    problem = JSON.parse(text)
  } catch {} // it is a proxy's
  const kind = `${problem.type}`.split('#')[1] || ''
  return new OolithError(kind, `${status} ${kind}: ${problem.detail || text.slice(0, 99)}`, undefined, status, problem, headers.get('x-request-id') || '')
}

/** Sends a request, again where that is of use; only if it is exact where it may have been made. */
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
      // The server's own "busy" made nothing; that of a proxy is like no answer.
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
