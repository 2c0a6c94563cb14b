// A list of any length in a box that scrolls: only the rows in sight are elements.
//
// Browsers bear an element of some millions of pixels. A list that is longer has a spacer of that height. A small step of scrolling
// moves the rows by as much; a long one, of the scroll bar, goes to that share of the list. When scrolling rests, the scroll bar is put
// where the rows are.

const tallest = 6_000_000

/**
 * @typedef {object} Source
 * @property {() => number} count how many rows there are
 * @property {(i: number) => string} key what a row is of: its element is kept while that stays
 * @property {(i: number, element: HTMLElement) => void} draw
 * @property {(first: number, last: number) => void} [shown] the rows in sight changed
 */

export class VirtualList {
	/** @type {Map<string, HTMLElement>} */
	#rows = new Map()
	#top = 0 // of the first pixel in sight, in a list of full height
	#scrolled = 0 // the scrollTop that belongs to it
	#frame = 0
	#first = 0
	#last = -1
	/** @type {ReturnType<typeof setTimeout> | undefined} */
	#rest

	/** @param {HTMLElement} box what scrolls @param {number} height of a row, in pixels @param {Source} source */
	constructor(box, height, source) {
		this.box = box
		this.height = height
		this.source = source
		this.spacer = document.createElement('div')
		this.spacer.className = 'spacer'
		this.spacer.setAttribute('role', 'presentation')
		box.append(this.spacer)
		box.addEventListener('scroll', () => this.#onScroll(), { passive: true })
		this.observer = new ResizeObserver(() => this.refresh())
		this.observer.observe(box)
	}

	/** The rows in sight, the last one included. */
	get range() { return { first: this.#first, last: this.#last } }
	get atTop() { return this.#top < 1 }
	/** How many rows fit. */
	get page() { return Math.max(1, Math.floor(this.box.clientHeight / this.height)) }
	/** The first row that is in sight as a whole. */
	get firstWhole() { return Math.ceil(this.#top / this.height - 0.01) }

	get #whole() { return this.source.count() * this.height }
	get #most() { return Math.max(0, this.#whole - this.box.clientHeight) }
	get #spacerHeight() { return Math.min(this.#whole, tallest) }
	get #mostScroll() { return Math.max(0, this.#spacerHeight - this.box.clientHeight) }
	get #scaled() { return this.#whole > tallest }

	#onScroll() {
		const scrolled = this.box.scrollTop, step = scrolled - this.#scrolled
		if (step === 0) return
		if (!this.#scaled) this.#top = scrolled
		else if (scrolled <= 0) this.#top = 0
		else if (scrolled >= this.#mostScroll - 1) this.#top = this.#most
		else if (Math.abs(step) < 3 * this.box.clientHeight) this.#top = Math.min(this.#most, Math.max(0, this.#top + step))
		else this.#top = scrolled / this.#mostScroll * this.#most
		this.#scrolled = scrolled
		this.#later()
		clearTimeout(this.#rest)
		if (this.#scaled) this.#rest = setTimeout(() => this.#align(), 150)
	}

	/** Puts the scroll bar where the rows are. */
	#align() {
		const at = this.#scaled ? Math.round(this.#top / Math.max(1, this.#most) * this.#mostScroll) : this.#top
		if (Math.abs(this.box.scrollTop - at) >= 1) this.box.scrollTop = at
		this.#scrolled = this.box.scrollTop
		this.#place()
	}

	#later() {
		if (this.#frame) return
		this.#frame = requestAnimationFrame(() => { this.#frame = 0; this.#place() })
	}

	/** Draws the rows in sight anew, at once. */
	refresh() {
		if (!this.box.isConnected) return
		const height = this.#spacerHeight + 'px'
		if (this.spacer.style.height !== height) this.spacer.style.height = height
		this.#top = Math.min(this.#top, this.#most)
		this.#align()
	}

	#place() {
		const count = this.source.count(), height = this.height, view = this.box.clientHeight
		const first = Math.max(0, Math.min(count, Math.floor(this.#top / height) - 4))
		const last = Math.min(count - 1, Math.ceil((this.#top + view) / height) + 4)
		const moved = first !== this.#first || last !== this.#last
		this.#first = first
		this.#last = last
		const shift = this.#scrolled - this.#top
		const kept = new Map()
		const fresh = []
		for (let i = first; i <= last; i++) {
			let key = this.source.key(i)
			if (kept.has(key)) key += '\n' + i // the same object at two ranks, while a list moves
			let row = this.#rows.get(key)
			if (row) this.#rows.delete(key)
			else fresh.push(row = document.createElement('div'))
			kept.set(key, row)
			const y = `translateY(${i * height + shift}px)`
			if (row.style.transform !== y) row.style.transform = y
			this.source.draw(i, row)
		}
		for (const row of this.#rows.values()) row.remove()
		this.#rows = kept
		this.spacer.append(...fresh)
		if (moved || fresh.length) this.source.shown?.(first, last)
	}

	/** The element of a row in sight. @param {string} key */
	element(key) { return this.#rows.get(key) }

	/** Brings a row into sight: where it is already, nothing moves. @param {number} i @param {'top' | 'middle'} [where] */
	show(i, where) {
		const view = this.box.clientHeight, y = i * this.height
		let top = this.#top
		if (where === 'middle' && (y < top || y + this.height > top + view)) top = y - (view - this.height) / 2
		else if (where === 'top' || y < top) top = y
		else if (y + this.height > top + view) top = y + this.height - view
		this.moveTo(top)
	}

	/** Moves by rows that came or went above what is in sight. @param {number} rows */
	shift(rows) { this.moveTo(this.#top + rows * this.height) }

	/** @param {number} top */
	moveTo(top) {
		this.#top = Math.max(0, Math.min(this.#most, top))
		this.refresh()
	}

	/** Names the row that is marked to assistive technology: one out of sight is no element. @param {Element | null} owner @param {number} active @param {string} prefix of the ids of rows */
	name(owner, active, prefix) {
		if (active >= this.#first && active <= this.#last && this.source.count()) owner?.setAttribute('aria-activedescendant', prefix + active)
		else owner?.removeAttribute('aria-activedescendant')
	}

	/** Ends it. */
	close() {
		this.observer.disconnect()
		cancelAnimationFrame(this.#frame)
		clearTimeout(this.#rest)
		this.spacer.remove()
	}
}
