// The rows of a list: a window of it at a time, from the server. A list of known length has ranks, and any part of it is read by its
// rank. One that is found by a search has the rows that are found so far.

import { request, query } from './api.js'

/**
 * A row: an object without the end of its data, where that is long.
 * @typedef {object} Row
 * @property {string} path
 * @property {number} created
 * @property {number} updated
 * @property {number} revision
 * @property {number} [expires]
 * @property {number} size
 * @property {unknown} [data]
 * @property {string} [head]
 */

/**
 * @typedef {object} ListQuery
 * @property {string} pattern
 * @property {string} text
 * @property {string} from
 * @property {string} to
 * @property {'desc' | 'asc'} order
 */

const chunk = 100, mostFound = 10_000, mostKept = 3000

/** A number that JavaScript would round, as it is written. */
export class Exact {
	/** @param {string} text */
	constructor(text) { this.text = text }
	toJSON() { return /** @type {any} */ (JSON).rawJSON?.(this.text) ?? Number(this.text) }
}

/** Reads JSON without rounding its numbers, where the browser shows their text. @param {string} text */
function exactly(text) {
	const reviver = (/** @type {string} */ _, /** @type {unknown} */ value, /** @type {{source?: string}} */ context) =>
		typeof value === 'number' && context?.source && context.source.length > 15 && String(value) !== context.source ? new Exact(context.source) : value
	const read = JSON.parse(text, /** @type {any} */ (reviver))
	for (const row of read.rows) for (const name of ['created', 'updated', 'expires']) if (row[name] instanceof Exact) row[name] = Number(row[name].text)
	return read
}

export class Rows {
	/** @type {Map<number, Row>} */
	#at = new Map()
	/** @type {Map<string, number>} the revisions that were shown */
	#seen = new Map()
	#control = new AbortController()
	/** @type {Set<number>} chunks that are being read */
	#reading = new Set()
	/** @type {string | undefined} */
	#next
	total = 0
	/** The length is known, and rows have ranks. */
	ranked = true
	/** A search is at its end. */
	complete = true
	examined = 0
	/** How many times rows were read. */
	loaded = false
	revision = 0
	/** @type {unknown} */
	error
	/** What became of rows since they were shown last: their paths. @type {Map<string, 'new' | 'changed'>} */
	news = new Map()

	/** @param {ListQuery} asked @param {() => void} changed */
	constructor(asked, changed) {
		this.asked = asked
		this.changed = changed
	}

	/** @param {number} i */
	row(i) { return this.#at.get(i) }
	/** All rows that are at hand. */
	get rows() { return [...this.#at.values()] }

	/** @param {Record<string, string | number | undefined>} more */
	async #read(more) {
		const { pattern, text, from, to, order } = this.asked
		const answer = await request('/~/rows' + query({ pattern, text, from, to, order, ...more }), { signal: this.#control.signal })
		return exactly(await answer.text())
	}

	/** Reads the first rows, from a rank on. @param {number} at */
	async begin(at = 0) {
		try {
			let part
			try {
				part = await this.#read({ limit: chunk, at: at ? Math.max(0, at - 10) : undefined })
			} catch (error) {
				if (!at || /** @type {any} */ (error)?.members?.parameter !== 'at') throw error
				part = await this.#read({ limit: chunk }) // a search has no ranks
			}
			this.error = undefined
			this.ranked = part.total !== undefined
			this.revision = part.revision
			if (this.ranked) {
				this.total = part.total
				this.#take(part, false)
			} else {
				this.#at.clear()
				this.#found(part)
			}
		} catch (error) {
			if (this.#control.signal.aborted) return
			this.error = error
		}
		this.loaded = true
		this.changed()
	}

	/** Takes rows at their ranks. @param {{at: number, rows: Row[]}} part @param {boolean} live whether what changed is news */
	#take(part, live) {
		part.rows.forEach((row, i) => {
			const before = this.#seen.get(row.path)
			if (live && before !== row.revision) this.news.set(row.path, before === undefined ? 'new' : 'changed')
			this.#seen.set(row.path, row.revision)
			this.#at.set(part.at + i, row)
		})
		if (this.#seen.size > 20_000) this.#seen = new Map([...this.#seen].slice(-5000))
	}

	/** Takes what a search found. @param {any} part */
	#found(part) {
		let at = this.#at.size
		for (const row of part.rows) {
			if (this.#seen.has(row.path) && this.#seen.get(row.path) !== row.revision) this.news.set(row.path, 'changed')
			this.#seen.set(row.path, row.revision)
			this.#at.set(at++, row)
		}
		this.total = this.#at.size
		this.examined += part.examined
		this.#next = part.next
		this.complete = !part.next || this.total >= mostFound
	}

	/** Makes sure that rows are at hand. @param {number} first @param {number} last */
	ensure(first, last) {
		if (!this.loaded || this.error) return
		if (!this.ranked) {
			if (last >= this.total - 30 && !this.complete && !this.#reading.has(0)) this.#more()
			return
		}
		for (let c = Math.floor(first / chunk); c <= Math.floor(last / chunk); c++) {
			const from = c * chunk, to = Math.min(from + chunk, this.total)
			if (this.#reading.has(c)) continue
			for (let i = Math.max(from, first); i < to && i <= last; i++) {
				if (!this.#at.has(i)) { this.#readChunk(c); break }
			}
		}
	}

	/** @param {number} c */
	async #readChunk(c) {
		this.#reading.add(c)
		try {
			const part = await this.#read({ limit: chunk, at: c * chunk })
			this.total = part.total ?? this.total
			this.#take(part, false)
			if (this.#at.size > mostKept) this.#forget(c * chunk)
		} catch (error) {
			if (this.#control.signal.aborted) return
			this.error = error
		} finally {
			this.#reading.delete(c)
		}
		this.changed()
	}

	/** Drops rows that are far from one. @param {number} near */
	#forget(near) {
		for (const i of this.#at.keys()) if (Math.abs(i - near) > mostKept / 3) this.#at.delete(i)
	}

	async #more() {
		this.#reading.add(0)
		try {
			this.#found(await this.#read({ limit: chunk, cursor: this.#next }))
		} catch (error) {
			if (this.#control.signal.aborted) return
			this.error = error
		} finally {
			this.#reading.delete(0)
		}
		this.changed()
	}

	/**
	 * Reads the rows in sight anew, because something changed, and returns by how many ranks they moved: those above came or went.
	 * @param {number} first
	 * @param {number} last
	 * @param {boolean} hold what is in sight stays in sight
	 */
	async refresh(first, last, hold) {
		if (!this.loaded || this.error) return this.begin().then(() => 0)
		if (!this.ranked) return this.#again()
		const before = this.total, anchors = new Map()
		for (let i = first; i <= last; i++) if (this.#at.has(i)) anchors.set(this.#at.get(i)?.path, i)
		let part
		try {
			part = await this.#read({ limit: Math.min(1000, last - first + 61), at: Math.max(0, first - 30) })
			if (part.total === undefined) return 0
			let moved = part.total - before
			if (hold && this.asked.order === 'desc' && Math.abs(moved) > 20) {
				part = await this.#read({ limit: Math.min(1000, last - first + 61), at: Math.max(0, first - 30 + moved) })
			}
		} catch (error) {
			if (this.#control.signal.aborted) return 0
			this.error = error
			this.changed()
			return 0
		}
		this.revision = part.revision
		this.total = part.total
		this.#at.clear()
		this.#take(part, true)
		let moved = 0
		if (hold) {
			const found = part.rows.findIndex((/** @type {Row} */ row) => anchors.has(row.path))
			if (found >= 0) moved = part.at + found - anchors.get(part.rows[found].path)
			else if (this.asked.order === 'desc') moved = part.total - before
		}
		return moved
	}

	/** Searches anew. What was found is shown until there is something else. */
	async #again() {
		if (this.#reading.has(0)) return 0
		this.#reading.add(0)
		try {
			const part = await this.#read({ limit: Math.max(chunk, Math.min(1000, this.total)) })
			if (part.total !== undefined) return 0
			this.#at.clear()
			this.examined = 0
			this.revision = part.revision
			this.#found(part)
		} catch (error) {
			if (!this.#control.signal.aborted) this.error = error
		} finally {
			this.#reading.delete(0)
		}
		return 0
	}

	/** Ends what is being read. */
	close() { this.#control.abort() }
}
