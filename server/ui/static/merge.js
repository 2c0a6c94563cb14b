// What differs between two texts, and what becomes of two changes of one value.

import { same } from './json.js'

/** @typedef {import('./json.js').Node} Node */
/** @typedef {{sign: ' ' | '+' | '-', text: string}} Line */

const farthest = 2000

/** The lines of two texts, by what both have: the shortest way from one to the other (Myers), or, where that is long, one block. @param {string} before @param {string} after @returns {Line[]} */
export function diff(before, after) {
	const a = before.split('\n'), b = after.split('\n')
	let head = 0, tail = 0
	while (head < a.length && head < b.length && a[head] === b[head]) head++
	while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++
	/** @param {string} text @returns {Line} */
	const kept = text => ({ sign: ' ', text })
	return [...a.slice(0, head).map(kept), ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)), ...a.slice(a.length - tail).map(kept)]
}

/** @param {string[]} a @param {string[]} b @returns {Line[]} */
function middle(a, b) {
	const most = Math.min(a.length + b.length, farthest)
	/** @type {Map<number, number>[]} */
	const trace = []
	/** @type {Map<number, number>} */
	let reach = new Map([[1, 0]])
	for (let d = 0; d <= most; d++) {
		trace.push(new Map(reach))
		for (let k = -d; k <= d; k += 2) {
			const down = k === -d || k !== d && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1)
			let x = down ? reach.get(k + 1) ?? 0 : (reach.get(k - 1) ?? 0) + 1
			while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++
			reach.set(k, x)
			if (x >= a.length && x - k >= b.length) return back(a, b, trace, d)
		}
	}
	return [...a.map(text => ({ sign: /** @type {const} */ ('-'), text })), ...b.map(text => ({ sign: /** @type {const} */ ('+'), text }))]
}

/** @param {string[]} a @param {string[]} b @param {Map<number, number>[]} trace @param {number} d @returns {Line[]} */
function back(a, b, trace, d) {
	/** @type {Line[]} */
	const lines = []
	let x = a.length, y = b.length
	for (; d >= 0; d--) {
		const reach = trace[d], k = x - y
		const down = k === -d || k !== d && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1)
		const from = down ? k + 1 : k - 1
		const fromX = reach.get(from) ?? 0, fromY = fromX - from
		while (x > fromX && y > fromY && x > 0 && y > 0) { x--; y--; lines.push({ sign: ' ', text: a[x] }) }
		if (d === 0) break
		if (down) { y--; lines.push({ sign: '+', text: b[y] }) } else { x--; lines.push({ sign: '-', text: a[x] }) }
	}
	return lines.reverse()
}

/**
 * A place that both changed, each otherwise.
 * @typedef {object} Conflict
 * @property {string[]} path
 * @property {Node | undefined} base
 * @property {Node | undefined} mine
 * @property {Node | undefined} theirs
 */

/**
 * Brings two changes of one value together. Objects are merged member by member; of anything else one side changed it, or both did
 * and it is a conflict, which choose decides: true for mine.
 * @param {Node | undefined} base @param {Node | undefined} mine @param {Node | undefined} theirs
 * @param {(conflict: Conflict) => boolean} choose
 * @param {string[]} [path]
 * @returns {Node | undefined} undefined where it is gone
 */
export function merge(base, mine, theirs, choose, path = []) {
	if (same(mine, theirs) || same(base, theirs)) return mine
	if (same(base, mine)) return theirs
	if (mine?.kind === 'object' && theirs?.kind === 'object' && (base?.kind === 'object' || !base)) {
		/** @type {Map<string, Node>} */
		const members = new Map()
		for (const name of new Set([...theirs.members.keys(), ...mine.members.keys()])) {
			const merged = merge(base?.members.get(name), mine.members.get(name), theirs.members.get(name), choose, [...path, name])
			if (merged) members.set(name, merged)
		}
		return { kind: 'object', members }
	}
	return choose({ path, base, mine, theirs }) ? mine : theirs
}
