// The columns of a list: members of its data, found in the rows that are at hand.

import { Exact } from './rows.js'

/** @typedef {import('./rows.js').Row} Row */

/** The members that rows have, the most frequent first, in the order in which they stand. @param {Row[]} rows @returns {string[]} */
export function membersOf(rows) {
	/** @type {Map<string, number>} */
	const counts = new Map()
	for (const row of rows.slice(0, 300)) {
		const data = row.data
		if (!data || typeof data !== 'object' || Array.isArray(data) || data instanceof Exact) continue
		for (const name of Object.keys(data)) counts.set(name, (counts.get(name) ?? 0) + 1)
	}
	return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 40).map(([name]) => name)
}

/** How long a cell may be. */
const longest = 200

/** A value as a cell shows it, and of which kind it is. @param {unknown} value @returns {{text: string, kind: string}} */
export function cell(value) {
	switch (typeof value) {
		case 'undefined': return { text: '', kind: 'none' }
		case 'string': return { text: value === '' ? '""' : value.slice(0, longest), kind: value === '' ? 'null' : 'string' }
		case 'number': return { text: String(value), kind: 'number' }
		case 'boolean': return { text: String(value), kind: 'boolean' }
	}
	if (value instanceof Exact) return { text: value.text, kind: 'number' }
	if (value === null) return { text: 'null', kind: 'null' }
	return { text: JSON.stringify(value).slice(0, longest), kind: 'nested' }
}

/** What a row shows in a column. @param {Row} row @param {string} name '' for the whole */
export function cellOf(row, name) {
	if (row.data === undefined) return name === '' || name === firstOf(row) ? { text: (row.head ?? '').slice(0, longest) + '…', kind: 'nested' } : { text: '', kind: 'none' }
	if (name === '') return cell(row.data)
	const data = row.data
	if (!data || typeof data !== 'object' || Array.isArray(data) || data instanceof Exact) return { text: '', kind: 'none' }
	return cell(Object.hasOwn(data, name) ? /** @type {any} */ (data)[name] : undefined)
}

/** @param {Row} row the name of the first member of data that is cut short */
const firstOf = row => row.head?.match(/^\{\s*"([^"\\]*)"/)?.[1] ?? ''

/**
 * The columns that are shown: those that were chosen, or as many as there is room for; [''] where data has no members.
 * @param {Row[]} rows @param {string} chosen @param {number} room
 */
export function columnsOf(rows, chosen, room) {
	const members = membersOf(rows)
	const some = chosen ? chosen.split(',').filter(Boolean) : members
	const plain = rows.filter(row => row.data !== undefined && (typeof row.data !== 'object' || row.data === null || Array.isArray(row.data) || row.data instanceof Exact)).length
	if (!some.length || !chosen && plain > rows.length / 2) return { members, columns: [''] }
	return { members, columns: some.slice(0, Math.max(1, room)) }
}
