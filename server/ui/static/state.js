// The view that is shown, which is the address of the page; what was typed and is not saved; messages.

import { Signal } from './element.js'
import { parseRoute, formatRoute } from './path.js'

/** @typedef {import('./path.js').Route} Route */

export const route = new Signal(parseRoute(location.pathname + location.search))

/** Goes to a view: what is not named stays as it is. @param {Partial<Route>} to @param {{replace?: boolean, fresh?: boolean}} [how] fresh: nothing stays */
export function go(to, how = {}) {
	const blank = parseRoute('/~/ui/')
	const next = { ...(how.fresh ? blank : route.value), ...to }
	const address = formatRoute(next)
	if (address === location.pathname + location.search) return
	if (how.replace) history.replaceState(null, '', address)
	else history.pushState(null, '', address)
	route.set(next)
}

/** Goes to a list. @param {string} pattern */
export const goList = pattern => go({ pattern }, { fresh: true })

/** Opens an object beside the list. @param {string} object */
export const goObject = object => go({ page: 'data', object, make: '', at: 0 })

addEventListener('popstate', () => route.set(parseRoute(location.pathname + location.search)))

// What was typed and not saved, by path. It survives a reload of the page.

/** @typedef {{text: string, base: string, etag: string, ttl: string}} Draft */
const draftKey = 'oolith.draft.'
/** Those that are too large to be kept over a reload. @type {Map<string, Draft>} */
const largeDrafts = new Map()
const largest = 500_000

/** @param {string} path @returns {Draft | undefined} */
export function draft(path) {
	const large = largeDrafts.get(path)
	if (large) return large
	try {
		return JSON.parse(sessionStorage.getItem(draftKey + path) ?? 'null') ?? undefined
	} catch { return undefined }
}

/** @param {string} path @param {Draft | undefined} text */
export function keepDraft(path, text) {
	largeDrafts.delete(path)
	try {
		if (text && text.text.length + text.base.length > largest) throw new RangeError()
		if (text) sessionStorage.setItem(draftKey + path, JSON.stringify(text))
		else sessionStorage.removeItem(draftKey + path)
	} catch {
		sessionStorage.removeItem(draftKey + path)
		if (text) largeDrafts.set(path, text)
	}
}

/** @typedef {{id: number, text: string, bad: boolean, action?: {name: string, run: () => void}}} Message */
export const messages = new Signal(/** @type {Message[]} */ ([]))
let ids = 0

/** Tells something: good news leave by themselves. @param {string} text @param {{bad?: boolean, action?: Message['action']}} [how] */
export function tell(text, how = {}) {
	const message = { id: ++ids, text, bad: how.bad ?? false, action: how.action }
	messages.set([...messages.value.slice(-2), message])
	if (!message.bad) setTimeout(() => dismiss(message.id), how.action ? 10_000 : 4000)
}

/** @param {number} id */
export const dismiss = id => messages.set(messages.value.filter(m => m.id !== id))
