// The tree of directories: any number of them, a page at a time, by rank.

import { html, nothing, render } from './vendor/lit-html.js'
import { Part } from './element.js'
import { json, query, me, words } from './api.js'
import { VirtualList } from './virtual.js'
import { route, goList } from './state.js'
import { number, plural } from './text.js'
import { listOf, root } from './path.js'
import { watch } from './watch.js'

/** @typedef {{name: string, objects: number, directories: number}} Directory */

const chunk = 200, rowHeight = 30

/** A directory that is open, and what is known of those directly in it. */
class Open {
	/** @type {Map<number, Directory>} by rank */
	known = new Map()
	/** @type {Map<number, Open>} those of them that are open, by rank */
	open = new Map()
	total = 0
	loaded = false
	/** @type {Set<number>} */
	reading = new Set()

	/** @param {string} path @param {number} depth @param {Open} [above] */
	constructor(path, depth, above) {
		this.path = path
		this.depth = depth
		this.above = above
	}

	/** How many rows it takes, without its own. @returns {number} */
	get size() {
		let size = this.total
		for (const child of this.open.values()) size += child.size
		return size
	}

	/** What is in a row below it. @param {number} row @returns {{open: Open, rank: number}} */
	locate(row) {
		let passed = 0 // rows of open children before
		for (const [rank, child] of [...this.open].sort((a, b) => a[0] - b[0])) {
			const at = rank + passed
			if (row <= at) break
			if (row <= at + child.size) return child.locate(row - at - 1)
			passed += child.size
		}
		return { open: this, rank: row - passed }
	}

	/** The row of a rank, below it. @param {number} rank @returns {number} */
	rowOf(rank) {
		let row = rank
		for (const [other, child] of this.open) if (other < rank) row += child.size
		return row
	}

	/** @param {string} name */
	join(name) { return this.path ? this.path + '/' + name : name }
}

export class Tree extends Part {
	top = new Open('', 0)
	active = 0
	error = ''
	filter = ''
	/** @type {VirtualList | undefined} */
	list
	/** @type {(() => void)[]} */
	ends = []
	stale = false

	connectedCallback() {
		super.connectedCallback()
		const box = /** @type {HTMLElement} */ (this.querySelector('.rows'))
		this.list = new VirtualList(box, rowHeight, {
			count: () => this.top.size,
			key: i => { const { open, rank } = this.top.locate(i); const one = open.known.get(rank); return one ? open.join(one.name) : open.path + '#' + rank },
			draw: (i, element) => this.drawRow(i, element),
			shown: (first, last) => { this.ensure(first, last); this.name() },
		})
		this.ends.push(route.follow(() => this.reveal()), me.follow(() => this.begin()))
		if (me.value) this.begin()
	}

	disconnectedCallback() {
		this.list?.close()
		for (const end of this.ends) end()
		this.ends = []
	}

	/** Reads the top. */
	async begin() {
		this.error = ''
		this.unwatch?.()
		if (!me.value?.may.read) {
			this.roots()
			return
		}
		this.unwatch = watch('**', () => this.later())
		this.ends.push(() => this.unwatch?.())
		await this.read(this.top, 0)
		await this.reveal()
	}

	/** @type {(() => void) | undefined} */
	unwatch

	/** Where the token reads only some directories, these are the tree. */
	roots() {
		const paths = new Set()
		for (const scope of me.value?.token?.scopes ?? []) if (scope.verbs.includes('read')) paths.add(root(scope.pattern))
		this.top = new Open('', 0)
		let rank = 0
		for (const path of [...paths].filter(p => p !== '').sort()) this.top.known.set(rank++, { name: path, objects: 0, directories: 1 })
		this.top.total = rank
		this.top.loaded = true
		if (rank === 0) this.error = 'This token cannot read a whole directory. Type a path or pattern above the list.'
		this.changed()
	}

	changed() {
		this.list?.refresh()
		this.invalidate()
	}

	/** Reads a page of a directory. @param {Open} open @param {number} from */
	async read(open, from) {
		const c = Math.floor(from / chunk)
		if (open.reading.has(c)) return
		open.reading.add(c)
		try {
			const part = await json('/~/directories' + query({ path: open.path, at: c * chunk || undefined, limit: chunk }))
			open.loaded = true
			open.total = part.total
			part.directories.forEach((/** @type {Directory} */ one, /** @type {number} */ i) => open.known.set((part.offset ?? 0) + i, one))
			if (open.known.size > 4000) for (const rank of open.known.keys()) if (Math.abs(rank - from) > 2000 && !open.open.has(rank)) open.known.delete(rank)
			this.error = ''
		} catch (error) {
			this.error = words(error)
		} finally {
			open.reading.delete(c)
		}
		this.changed()
	}

	/** Reads what is in sight and not known. @param {number} first @param {number} last */
	ensure(first, last) {
		for (let i = first; i <= last; i++) {
			const { open, rank } = this.top.locate(i)
			if (rank < open.total && !open.known.has(rank) && me.value?.may.read !== undefined) this.read(open, rank)
		}
	}

	/** Something changed: the counts in sight are read again, once a second at most. */
	later() {
		if (this.stale) return
		this.stale = true
		setTimeout(() => { this.stale = false; this.again() }, document.hidden ? 5000 : 1000)
	}

	async again() {
		if (!this.list || !this.isConnected) return
		const { first, last } = this.list.range
		/** @type {Map<Open, Set<number>>} */
		const due = new Map([[this.top, new Set([0])]])
		for (let i = first; i <= Math.max(first, last); i++) {
			const { open, rank } = this.top.locate(i)
			if (!due.has(open)) due.set(open, new Set())
			due.get(open)?.add(Math.floor(rank / chunk))
		}
		for (const [open, chunks] of due) {
			if (open === this.top && !me.value?.may.read) continue
			const before = open.total
			for (const c of chunks) await this.read(open, c * chunk)
			if (open.total !== before && open.open.size) await this.place(open)
			if (open.total < before) for (const rank of open.known.keys()) if (rank >= open.total) open.known.delete(rank)
		}
		this.changed()
	}

	/** Finds the ranks of what is open in a directory anew. @param {Open} open */
	async place(open) {
		const children = [...open.open.values()]
		open.open.clear()
		for (const child of children) {
			const rank = await this.rankOf(open, child.path.slice(open.path ? open.path.length + 1 : 0))
			if (rank >= 0) open.open.set(rank, child)
		}
	}

	/** The rank of a directory; -1 for none. @param {Open} open @param {string} name */
	async rankOf(open, name) {
		for (const [rank, one] of open.known) if (one.name === name) return rank
		try {
			const behind = await json('/~/directories' + query({ path: open.path, after: name, limit: 1 }))
			const rank = (behind.offset ?? 0) - 1
			if (rank < 0) return -1
			await this.read(open, rank)
			return open.known.get(rank)?.name === name ? rank : -1
		} catch { return -1 }
	}

	/** Opens the tree where the list is, and marks it. */
	async reveal() {
		const wanted = root(route.value.pattern)
		let open = this.top
		if (!open.loaded) return
		if (wanted && me.value?.may.read) {
			const segments = wanted.split('/')
			for (const [i, name] of segments.entries()) {
				const rank = await this.rankOf(open, name)
				if (rank < 0 || wanted !== root(route.value.pattern)) break
				this.active = this.rowOf(open, rank)
				if (i === segments.length - 1) break
				const next = await this.expand(open, rank)
				if (!next) break
				open = next
			}
			this.list?.show(this.active, 'middle')
		}
		this.changed()
	}

	/** @param {Open} open @param {number} rank */
	rowOf(open, rank) {
		let row = open.rowOf(rank)
		for (let at = open; at.above; at = at.above) {
			for (const [other, child] of at.above.open) if (child === at) row += at.above.rowOf(other) + 1
		}
		return row
	}

	/** @param {Open} open @param {number} rank @returns {Promise<Open | undefined>} */
	async expand(open, rank) {
		const there = open.open.get(rank)
		if (there) return there
		const one = open.known.get(rank)
		if (!one || one.directories === 0) return undefined
		const child = new Open(open.join(one.name), open.depth + 1, open)
		await this.read(child, 0)
		if (child.total > 0) open.open.set(rank, child)
		this.changed()
		return child
	}

	/** @param {number} row */
	at(row) {
		const { open, rank } = this.top.locate(row)
		return { open, rank, one: open.known.get(rank), child: open.open.get(rank) }
	}

	/** @param {number} row @param {HTMLElement} element */
	drawRow(row, element) {
		const { open, rank, one, child } = this.at(row)
		element.className = 'row'
		element.id = 'tree-' + row
		element.setAttribute('role', 'treeitem')
		element.setAttribute('aria-level', String(open.depth + 1))
		element.setAttribute('aria-setsize', String(open.total))
		element.setAttribute('aria-posinset', String(rank + 1))
		element.style.setProperty('--depth', String(open.depth))
		element.classList.toggle('active', row === this.active)
		if (!one) {
			element.removeAttribute('aria-expanded')
			element.setAttribute('aria-label', 'not read yet')
			render(html`<span class="twist"></span><span class="ghost"></span>`, element)
			return
		}
		const path = open.join(one.name)
		const chosen = root(route.value.pattern) === path
		element.setAttribute('aria-selected', String(chosen))
		if (one.directories) element.setAttribute('aria-expanded', String(Boolean(child)))
		else element.removeAttribute('aria-expanded')
		const what = [one.objects ? plural(one.objects, 'object') : '', one.directories ? plural(one.directories, 'directory', 'directories') : ''].filter(Boolean).join(', ')
		element.setAttribute('aria-label', `${one.name}, ${what}`)
		element.title = `${path} — ${what}`
		render(html`<span class="twist" @click=${(/** @type {Event} */ e) => { e.stopPropagation(); this.toggle(row) }}>${one.directories ? (child ? '▾' : '▸') : ''}</span>
			<span class="name" @click=${() => this.choose(row)}>${one.name}</span>
			<span class="count">${one.objects ? number(one.objects) : html`<i>${number(one.directories)} /</i>`}</span>`, element)
		element.onclick = event => { if (event.target === element || /** @type {HTMLElement} */ (event.target).closest('.count')) this.choose(row) }
	}

	/** @param {number} row */
	choose(row) {
		this.active = row
		const { open, one } = this.at(row)
		if (!one) return
		goList(listOf(open.join(one.name)))
		if (!one.objects && one.directories) this.expand(open, this.at(row).rank)
		this.changed()
	}

	/** @param {number} row @param {boolean} [to] */
	async toggle(row, to) {
		const { open, rank, child } = this.at(row)
		if (child && to !== true) {
			open.open.delete(rank)
			this.active = Math.min(this.active, this.top.size - 1)
		} else if (!child && to !== false) await this.expand(open, rank)
		this.changed()
	}

	/** @param {KeyboardEvent} event */
	key(event) {
		const size = this.top.size, page = this.list?.page ?? 10
		const { open, child, one } = this.at(this.active)
		let to = this.active
		switch (event.key) {
			case 'ArrowDown': to++; break
			case 'ArrowUp': to--; break
			case 'PageDown': to += page; break
			case 'PageUp': to -= page; break
			case 'Home': to = 0; break
			case 'End': to = size - 1; break
			case 'ArrowRight':
				if (child) to++
				else if (one?.directories) this.toggle(this.active, true)
				break
			case 'ArrowLeft':
				if (child) this.toggle(this.active, false)
				else if (open.above) for (const [rank, other] of open.above.open) if (other === open) to = this.rowOf(open.above, rank)
				break
			case 'Enter': case ' ': this.choose(this.active); break
			default: return
		}
		event.preventDefault()
		this.active = Math.max(0, Math.min(size - 1, to))
		this.list?.show(this.active)
		this.invalidate()
	}

	/** Goes to the first directory at the top whose name begins with a text, or follows it. @param {string} text */
	async find(text) {
		this.filter = text
		if (!text) return
		const before = text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) - 1) + '~'
		try {
			const part = await json('/~/directories' + query({ after: before, limit: 1 }))
			if (this.filter !== text) return
			this.active = this.rowOf(this.top, Math.min(part.offset ?? 0, Math.max(0, this.top.total - 1)))
			this.list?.show(this.active, 'top')
			this.changed()
		} catch (error) {
			this.error = words(error)
			this.invalidate()
		}
	}

	view() {
		const size = this.top.size
		return html`
			<div class="tree-head">
				<button class="all ${route.value.pattern === '**' ? 'chosen' : ''}" @click=${() => goList('**')} title="All objects, newest first">Everything</button>
				<button class="all ${route.value.pattern === '*' ? 'chosen' : ''}" @click=${() => goList('*')} title="The objects that are in no directory">Top level</button>
			</div>
			${this.top.total > 30 ? html`<label class="tree-find"><span class="hidden">Go to a directory</span>
				<input type="search" placeholder=${`Go to one of ${number(this.top.total)} directories`} spellcheck="false" autocapitalize="off"
				.value=${this.filter} @input=${(/** @type {any} */ e) => this.find(e.target.value)}
				@keydown=${(/** @type {KeyboardEvent} */ e) => { if (e.key === 'Enter') { this.choose(this.active) } if (e.key === 'ArrowDown') { e.preventDefault(); /** @type {HTMLElement} */ (this.querySelector('.rows')).focus() } }}></label>` : nothing}
			${this.error ? html`<p class="bad note" role="alert">${this.error}</p>` : nothing}
			${this.top.loaded && size === 0 && !this.error ? html`<p class="note">No directories yet. They come with the objects in them.</p>` : nothing}
			<div class="rows" role=${size ? 'tree' : nothing} aria-label=${size ? 'Directories' : nothing} tabindex=${size ? '0' : '-1'}
				@keydown=${(/** @type {KeyboardEvent} */ e) => this.key(e)}></div>`
	}

	name() { this.list?.name(this.querySelector('.rows'), this.active, 'tree-') }

	drawn() {
		this.list?.refresh()
		this.name()
	}
}

customElements.define('oo-tree', Tree)
