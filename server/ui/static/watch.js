// What changed: one stream for all patterns that the page shows. It says that something changed, and the parts that show it read
// their windows again. It comes back by itself, and tells everybody to read when it does.

import { request, lost, found, Problem, loginNeeded } from './api.js'

/** @typedef {{pattern: string, changes: number, removed: number, reset?: boolean}} Changed */
/** @typedef {(changed: Changed | null) => void} Follower null: the stream began, anything may have changed */

/** @type {Map<string, Set<Follower>>} */
const followers = new Map()
/** @type {AbortController | undefined} */
let running
let attempt = 0
/** @type {ReturnType<typeof setTimeout> | undefined} */
let again

/** Follows a pattern until the function that is returned is called. @param {string} pattern @param {Follower} run */
export function watch(pattern, run) {
	let set = followers.get(pattern)
	if (!set) followers.set(pattern, set = new Set())
	set.add(run)
	restart()
	return () => {
		set.delete(run)
		if (set.size === 0 && followers.get(pattern) === set) followers.delete(pattern)
		restart()
	}
}

/** Begins anew, now: with other patterns, another token, or because the server may be back. */
export function restart() {
	attempt = 0
	schedule(10)
}

/** @param {number} delay */
function schedule(delay) {
	clearTimeout(again)
	again = setTimeout(run, delay)
}

async function run() {
	running?.abort()
	if (followers.size === 0) return
	const control = running = new AbortController()
	const patterns = [...followers.keys()].slice(0, 16)
	try {
		const response = await request('/~/changes?' + patterns.map(p => 'watch=' + encodeURIComponent(p)).join('&'), {
			headers: { Accept: 'text/event-stream' }, signal: control.signal,
		})
		await read(response, control.signal)
	} catch (error) {
		if (control.signal.aborted) return
		if (error instanceof Problem && (error.status === 401 || error.status === 403 || error.status === 400)) return // what shows the pattern says so
	}
	if (control.signal.aborted) return
	lost()
	schedule(Math.min(5000, 250 * 2 ** attempt++) * (0.75 + Math.random() / 2))
}

/** @param {Response} response @param {AbortSignal} signal */
async function read(response, signal) {
	const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader()
	const decoder = new TextDecoder()
	let text = '', began = false
	for (;;) {
		const { done, value } = await reader.read()
		if (done || signal.aborted) return
		text += decoder.decode(value, { stream: true })
		for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
			const data = text.slice(0, end).split('\n').find(line => line.startsWith('data: '))
			if (!data) continue
			const event = JSON.parse(data.slice(6))
			if (!began) {
				began = true
				attempt = 0
				found()
				for (const set of followers.values()) for (const follow of set) follow(null)
				continue
			}
			for (const one of event.changed) for (const follow of followers.get(one.pattern) ?? []) follow(one)
		}
	}
}

addEventListener('online', restart)
document.addEventListener('visibilitychange', () => { if (!document.hidden && attempt > 0) restart() })
loginNeeded.follow(why => { if (!why) restart() })
