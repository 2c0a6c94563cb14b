/**
 * Hooks for React. Their results are those of the last commit received, and change with the next.
 *
 * @module
 */

import { useMemo, useSyncExternalStore } from 'react'
import type { Item, LiveStatus, OolithError, Status } from './index.js'

/** A client, or one of `oolith/offline`. */
export interface Source {
  live<T>(pattern: string, listener: () => void): {
    readonly items: readonly Item<T>[]
    readonly status: LiveStatus
    readonly error: OolithError | undefined
    close(): void
  }
}

/** A followed pattern. */
export interface Seen<T> {
  /** Newest first. */
  items: readonly Item<T>[]
  status: LiveStatus
  error: OolithError | undefined
}

/** Follows a path or pattern while the component is mounted. */
export function useLive<T = unknown>(source: Source, pattern: string): Seen<T> {
  const { subscribe, get } = useMemo(() => {
    let live: Seen<T> | undefined
    let seen: Seen<T> = { items: [], status: 'waiting', error: undefined }
    return {
      subscribe(changed: () => void) {
        const mine = source.live<T>(pattern, changed)
        live = mine
        return () => mine.close()
      },
      get() {
        if (live && (live.items !== seen.items || live.status !== seen.status)) seen = { items: live.items, status: live.status, error: live.error }
        return seen
      },
    }
  }, [source, pattern])
  return useSyncExternalStore(subscribe, get, get)
}

/** Follows one object. `item` is undefined while it does not exist. */
export function useItem<T = unknown>(source: Source, path: string): { item: Item<T> | undefined; status: LiveStatus; error: OolithError | undefined } {
  const { items, status, error } = useLive<T>(source, path)
  return { item: items[0], status, error }
}

/** The state of the connection. */
export function useStatus(client: { readonly status: Status; onStatus(listener: (status: Status) => void): () => unknown }): Status {
  const get = () => client.status
  return useSyncExternalStore(client.onStatus as (changed: () => void) => () => void, get, get)
}
