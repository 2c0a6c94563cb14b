// Server-sent events, if WebSockets do not work. This module is loaded on demand.

import type { Feed } from './feed.js'
import type { Host, Session } from './link.js'

/** Follows feeds with a stream of events. Returns when the stream ends. */
export async function events(of: Session, list: Feed[], { fetch, errorOf, oldest, refuse, opened, take, connect }: Host): Promise<void> {
  const limit = new AbortController()
  of.end = () => limit.abort()
  const response = await fetch('/~/live?' + new URLSearchParams(list.map(feed => ['watch', feed.pattern])), {
    headers: { Accept: 'text/event-stream', 'Last-Event-ID': oldest(list) }, signal: limit.signal,
  })
  if (!response.ok) {
    const error = errorOf(response, await response.text())
    const { status, problem: { pattern } } = error
    if (!limit.signal.aborted && status < 500 && status !== 429) refuse(list.filter(feed => !pattern || feed.pattern === pattern), error)
    throw error
  }
  if (limit.signal.aborted) return
  for (const feed of list) feed.asked = true
  // A different set of patterns needs a new stream, and a silent stream is replaced.
  opened(of, ({ type }) => type === 'unsubscribe' || connect())
  const reader = response.body!.getReader()
  const decoder = new TextDecoder()
  for (let rest = ''; ; ) {
    const { done, value } = await reader.read()
    if (done) return
    of.quiet = 0
    const text = decoder.decode(value, { stream: true })
    rest += text
    if (!text.includes('\n')) continue // in the midst of an event
    const events = rest.split('\n\n')
    rest = events.pop()!
    for (const event of events) {
      const data = /data: (.*)/s.exec(event)
      if (data) await take(of, data[1]!)
    }
  }
}
