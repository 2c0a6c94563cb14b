// The list: what matches a pattern, as rows that live.

import { html, nothing, render } from './vendor/lit-html.js'
import { Part } from './element.js'
import { me, mayWrite, words, Problem } from './api.js'
import { VirtualList } from './virtual.js'
import { Rows } from './rows.js'
import { route, go, goObject } from './state.js'
import { columnsOf, cellOf } from './columns.js'
import { number, plural, time, fullTime, bytes } from './text.js'
import { wrongWith, isGlob, root, base } from './path.js'
import { watch } from './watch.js'
import { filters } from './filters.js'
import { actions, bulkBar } from './actions.js'

const rowHeight = 34
const calm = matchMedia('(prefers-reduced-motion: reduce)')

/** What lights up, by its row. @type {WeakMap<Element, Animation>} */
const lit = new WeakMap()

export class List extends Part {
	/** @type {Rows | undefined} */
	rows
	/** @type {VirtualList | undefined} */
	list
	active = 0
	/** @type {Set<string>} paths */
	selected = new Set()
	/** Where a selection with Shift began. */
	anchor = -1
	paused = false
	/** Changes that wait while it is paused. */
	waiting = 0
	wrong = ''
	columnsOpen = false
	/** @type {string[]} */
	columns = ['']
	/** @type {string[]} */
	members = []
	#key = ''
	#busy = false
	#again = false
	/** @type {(() => void)[]} */
	ends = []
	/** @type {(() => void) | undefined} */
	unwatch
	/** Changes a second, lately. */
	rate = 0
	#rateAt = 0
	#rateCount = 0

	connectedCallback() {
		super.connectedCallback()
		const box = /** @type {HTMLElement} */ (this.querySelector('.rows'))
		this.list = new VirtualList(box, rowHeight, {
			count: () => this.rows?.total ?? 0,
			key: i => this.rows?.row(i)?.path ?? '#' + i,
			draw: (i, element) => this.drawRow(i, element),
			shown: (first, last) => { this.rows?.ensure(first, last); this.place(); this.name() },
		})
		const measure = new ResizeObserver(() => this.measure())
		measure.observe(this)
		const tick = setInterval(() => this.tick(), 1000)
		this.ends.push(route.follow(() => this.follow()), me.follow(() => { this.#key = ''; this.follow() }), () => measure.disconnect(), () => clearInterval(tick))
		this.follow()
	}

	disconnectedCallback() {
		this.rows?.close()
		this.unwatch?.()
		this.list?.close()
		for (const end of this.ends) end()
		this.ends = []
	}

	/** Shows the list of the address. */
	follow() {
		const { pattern, text, from, to, order, at } = route.value
		this.invalidate()
		const key = JSON.stringify([pattern, text, from, to, order])
		if (key === this.#key) { this.measure(); return }
		if (!me.value) return
		this.#key = key
		this.rows?.close()
		this.unwatch?.()
		this.rows = undefined
		this.selected.clear()
		this.active = at
		this.anchor = -1
		this.waiting = 0
		this.wrong = wrongWith(pattern) || (isGlob(pattern) ? '' : `it is the path of one object, expected a pattern such as ${pattern}/*`)
		if (pattern === '') this.wrong = 'nothing'
		this.list?.moveTo(0)
		if (this.wrong) return
		const rows = this.rows = new Rows({ pattern, text, from: bound(from), to: bound(to), order }, () => this.arrived(rows))
		rows.begin(at).then(() => { if (rows === this.rows && at) this.list?.show(Math.min(at, rows.total - 1), 'top') })
		this.unwatch = watch(pattern, changed => this.change(changed))
	}

	/** Rows came. @param {Rows} rows */
	arrived(rows) {
		if (rows !== this.rows) return
		this.active = Math.max(0, Math.min(this.active, rows.total - 1))
		this.measure()
		this.invalidate()
	}

	/** @param {import('./watch.js').Changed | null} changed */
	change(changed) {
		if (!changed && !this.rows?.loaded) return
		this.#rateCount += changed?.changes ?? 0
		if (this.paused && changed) {
			this.waiting += changed.changes
			this.invalidate()
			return
		}
		this.reread()
	}

	tick() {
		const now = performance.now(), rate = Math.round(this.#rateCount / Math.max(0.5, (now - this.#rateAt) / 1000))
		this.#rateAt = now
		this.#rateCount = 0
		if (rate !== this.rate) { this.rate = rate; this.invalidate() }
	}

	/** Reads what is in sight anew, one time after the other. */
	async reread() {
		if (this.#busy) { this.#again = true; return }
		const rows = this.rows, list = this.list
		if (!rows || !list) return
		this.#busy = true
		try {
			const { first, last } = list.range
			const hold = !list.atTop
			const activePath = rows.row(this.active)?.path
			const moved = await rows.refresh(first, Math.max(first + 20, last), hold)
			if (rows !== this.rows) return
			if (moved) list.shift(moved)
			const { first: from, last: to } = list.range
			for (let i = from - 60; activePath && i <= to + 60; i++) if (rows.row(i)?.path === activePath) this.active = i
			this.arrived(rows)
			rows.ensure(list.range.first, list.range.last)
			if (!rows.ranked) await new Promise(done => setTimeout(done, 900))
		} finally {
			this.#busy = false
		}
		if (this.#again) { this.#again = false; this.reread() }
	}

	/** What changed lights up for a moment. */
	flash() {
		const rows = this.rows
		if (!rows) return
		if (!calm.matches && !document.hidden) {
			for (const [path, what] of rows.news) {
				const element = this.list?.element(path)
				if (!element) continue
				lit.get(element)?.cancel()
				lit.set(element, element.animate([{ opacity: what === 'new' ? 0.5 : 0.32 }, { opacity: 0 }], { duration: 1200, easing: 'ease-out', pseudoElement: '::after' }))
			}
		}
		rows.news.clear()
	}

	/** How many columns there is room for. */
	measure() {
		const room = Math.floor((this.clientWidth - 40 - 150 - (this.clientWidth > 560 ? 144 : 0)) / 118)
		const found = columnsOf(this.rows?.rows ?? [], route.value.columns, Math.max(1, Math.min(8, room)))
		this.members = found.members
		const columns = this.clientWidth < 480 ? found.columns.slice(0, 1) : found.columns
		if (columns.join() === this.columns.join() && this.style.getPropertyValue('--columns')) return
		this.columns = columns
		this.style.setProperty('--columns', String(columns.length))
		this.list?.refresh()
		this.invalidate()
	}

	/** The place of the list in the address, when scrolling rests. */
	place() {
		clearTimeout(this.placing)
		this.placing = setTimeout(() => {
			const at = this.list?.firstWhole ?? 0
			if (this.isConnected && this.rows?.ranked && at !== route.value.at && !route.value.make) go({ at }, { replace: true })
		}, 400)
	}

	/** @type {ReturnType<typeof setTimeout> | undefined} */
	placing

	/** @param {number} i @param {HTMLElement} element */
	drawRow(i, element) {
		const row = this.rows?.row(i)
		element.className = 'row'
		element.id = 'row-' + i
		element.setAttribute('role', 'row')
		element.setAttribute('aria-rowindex', String(i + 2))
		element.classList.toggle('active', i === this.active)
		if (!row) {
			element.onclick = null
			render(html`<span role="gridcell" class="name"><span class="ghost"></span><span class="hidden">reading</span></span>`, element)
			return
		}
		const selected = this.selected.has(row.path)
		element.setAttribute('aria-selected', String(selected))
		element.classList.toggle('open', route.value.object === row.path)
		const before = root(this.rows?.asked.pattern ?? '')
		const name = before ? row.path.slice(before.length + 1) : row.path
		const at = row.updated || row.created
		render(html`<span role="gridcell" class="pick"><input type="checkbox" tabindex="-1" aria-label=${'Select ' + name} .checked=${selected}
				@click=${(/** @type {MouseEvent} */ e) => { e.stopPropagation(); this.pick(i, e.shiftKey, true) }}></span>
			<span role="gridcell" class="name" title=${row.path}>${name}</span>
			${this.columns.map(column => {
				const { text, kind } = cellOf(row, column)
				return html`<span role="gridcell" class=${'cell ' + kind} dir="auto" title=${text}>${text}</span>`
			})}
			<span role="gridcell" class="time" title=${`created ${fullTime(row.created)}\nupdated ${fullTime(row.updated)}\nrevision ${row.revision}, ${bytes(row.size)}`}>${time(at)}</span>`, element)
		element.onclick = event => {
			if (event.shiftKey || event.ctrlKey || event.metaKey) this.pick(i, event.shiftKey, true)
			else { this.active = i; goObject(row.path) }
			this.list?.refresh()
		}
	}

	/** Selects a row, or all from where the selection began. @param {number} i @param {boolean} range @param {boolean} toggle */
	pick(i, range, toggle) {
		const rows = this.rows
		if (!rows) return
		if (range && this.anchor >= 0) {
			for (let at = Math.min(i, this.anchor); at <= Math.max(i, this.anchor); at++) { const row = rows.row(at); if (row) this.selected.add(row.path) }
		} else {
			const path = rows.row(i)?.path
			if (path && toggle && this.selected.has(path)) this.selected.delete(path)
			else if (path) this.selected.add(path)
			this.anchor = i
		}
		this.active = i
		this.list?.refresh()
		this.invalidate()
	}

	clearSelection() {
		this.selected.clear()
		this.anchor = -1
		this.list?.refresh()
		this.invalidate()
	}

	/** @param {number} to */
	move(to) {
		const most = Math.max(0, (this.rows?.total ?? 0) - 1)
		this.active = Math.max(0, Math.min(most, Math.floor(to) || 0))
		this.list?.show(this.active)
		this.list?.refresh()
		this.invalidate()
	}

	/** Jumps to a rank, from 1. @param {number} rank */
	jump(rank) {
		this.move(rank - 1)
		this.list?.show(this.active, 'top')
	}

	/** @param {KeyboardEvent} event */
	key(event) {
		const page = this.list?.page ?? 10
		let to = this.active
		switch (event.key) {
			case 'ArrowDown': to++; break
			case 'ArrowUp': to--; break
			case 'PageDown': to += page; break
			case 'PageUp': to -= page; break
			case 'Home': to = 0; break
			case 'End': to = (this.rows?.total ?? 1) - 1; break
			case ' ': event.preventDefault(); this.pick(this.active, false, true); return
			case 'a':
				if (!event.ctrlKey && !event.metaKey) return
				event.preventDefault()
				for (const row of this.rows?.rows ?? []) this.selected.add(row.path)
				this.list?.refresh()
				this.invalidate()
				return
			case 'Escape': if (!this.selected.size) return; event.preventDefault(); this.clearSelection(); return
			case 'Enter': { const row = this.rows?.row(this.active); if (row) { event.preventDefault(); goObject(row.path) } return }
			case 'Delete': { event.preventDefault(); const row = this.rows?.row(this.active); if (!this.selected.size && row) this.selected.add(row.path); actions.remove(this); return }
			default: return
		}
		event.preventDefault()
		if (event.shiftKey) { if (this.anchor < 0) this.pick(this.active, false, false); this.pick(Math.max(0, Math.min((this.rows?.total ?? 1) - 1, to)), true, false) }
		this.move(to)
	}

	pause() {
		this.paused = !this.paused
		if (!this.paused) { this.waiting = 0; this.reread() }
		this.invalidate()
	}

	view() {
		const { pattern } = route.value
		const rows = this.rows, total = rows?.total ?? 0
		return html`
			${filters(this)}
			${this.selected.size ? bulkBar(this) : nothing}
			${this.note()}
			<div class="grid" role=${total ? 'grid' : nothing} aria-label=${total ? 'Objects of ' + pattern : nothing} aria-rowcount=${total ? total + 1 : nothing} aria-multiselectable=${total ? 'true' : nothing}
				tabindex=${total ? '0' : '-1'} @keydown=${(/** @type {KeyboardEvent} */ e) => this.key(e)}>
				${total ? html`<div class="head row" role="row" aria-rowindex="1">
					<span role="columnheader" class="pick"><span class="hidden">Selected</span></span>
					<span role="columnheader" class="name">${root(pattern) ? base(root(pattern)) + '/' : 'Path'}</span>
					${this.columns.map(column => html`<span role="columnheader" class="cell" title=${column}>${column || 'Value'}</span>`)}
					<span role="columnheader" class="time">Changed</span>
				</div>` : nothing}
				<div class="rows" role=${total ? 'rowgroup' : nothing}></div>
			</div>
			${this.foot()}`
	}

	name() { this.list?.name(this.querySelector('.grid'), this.active, 'row-') }

	drawn() {
		this.list?.refresh()
		this.name()
		this.flash()
		const box = this.list?.box
		if (box) this.style.setProperty('--bar', box.offsetWidth - box.clientWidth + 'px')
	}

	/** What is to be said in place of rows. */
	note() {
		const rows = this.rows, { pattern, text, from, to } = route.value
		if (this.wrong === 'nothing') return html`<div class="empty"><h2>Choose a directory</h2><p>Or type a path or pattern above, such as <code>**</code> for everything. <kbd>Ctrl</kbd> <kbd>K</kbd> finds all there is to do.</p></div>`
		if (this.wrong) return html`<div class="empty bad" role="alert"><h2>That is no pattern</h2><p>“${pattern}”: ${this.wrong}.</p>
			<p>Segments of letters, digits, <code>-</code>, <code>_</code> and <code>.</code> are joined by <code>/</code>. <code>*</code> stands for a segment or a part of one, <code>**</code> at the end for all that is below.</p></div>`
		if (!rows?.loaded) return html`<div class="empty quiet"><p>Reading…</p></div>`
		if (rows.error) {
			const problem = rows.error instanceof Problem ? rows.error : undefined
			if (problem?.status === 0) return total(rows) ? nothing : html`<div class="empty"><h2>The server does not answer</h2><p>The list appears here when it is back.</p></div>`
			return html`<div class="empty bad" role="alert"><h2>${problem?.status === 403 ? 'The token does not read this' : 'The list cannot be read'}</h2><p>${words(rows.error)}.</p>
				<p><button @click=${() => { rows.error = undefined; rows.begin() }}>Try again</button></p></div>`
		}
		if (rows.total) return nothing
		if (!rows.complete) return html`<div class="empty quiet"><p>Searching: ${number(rows.examined)} objects so far, none with “${text}”.</p></div>`
		if (text || from || to) return html`<div class="empty"><h2>Nothing matches</h2><p>${text ? html`No object of <code>${pattern}</code> has “${text}”` : html`No object of <code>${pattern}</code> is of that time`}.</p>
			<p><button @click=${() => go({ text: '', from: '', to: '' })}>Show all of ${pattern}</button></p></div>`
		return html`<div class="empty"><h2>Nothing here yet</h2><p>No object matches <code>${pattern}</code>.</p>
			${mayWrite() ? html`<p><button class="primary" @click=${() => actions.create(this)}>New object</button> <button @click=${() => actions.importFile(this)}>Import</button></p>` : nothing}</div>`
	}

	foot() {
		const rows = this.rows
		if (!rows?.loaded || rows.error && !total(rows) || !rows.total) return nothing
		return html`<div class="foot">
			<span class="total" role="status">${rows.ranked ? plural(rows.total, 'object') : rows.complete ? `${number(rows.total)} found` : `${number(rows.total)} found so far`}</span>
			${rows.ranked ? nothing : html`<span class="dim">of ${number(rows.examined)} looked at</span>`}
			<span class="grow"></span>
			${this.rate ? html`<span class="dim rate">${plural(this.rate, 'change')}/s</span>` : nothing}
			${rows.ranked && rows.total > 100 ? html`<form class="jump" @submit=${(/** @type {any} */ e) => { e.preventDefault(); this.jump(Number(String(e.target.elements.rank.value).replace(/\D/g, ''))) ; /** @type {HTMLElement} */ (this.querySelector('.grid')).focus() }}>
				<label>Row <input name="rank" inputmode="numeric" autocomplete="off" size="9" aria-label=${`Row, 1 to ${number(rows.total)}`} placeholder=${number(this.active + 1)}></label><button>Go</button></form>` : nothing}
		</div>`
	}
}

/** @param {Rows} rows */
const total = rows => rows.total

/** A bound of time as the server reads it: what the page has may be of local time, or a while before now. @param {string} text */
function bound(text) {
	const ago = text.match(/^(\d+)([mhd])$/)
	if (ago) return String(BigInt(Math.round(Date.now() - Number(ago[1]) * { m: 6e4, h: 36e5, d: 864e5 }[/** @type {'m' | 'h' | 'd'} */ (ago[2])])) * 1_000_000n)
	if (/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$/.test(text)) return new Date(text).toISOString()
	return text
}

customElements.define('oo-list', List)
