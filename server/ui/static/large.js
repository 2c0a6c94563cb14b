// A large object, to look at: line by line, those in sight. A worker has the text.

import { html, nothing } from './vendor/lit-html.js'
import { Part } from './element.js'
import { VirtualList } from './virtual.js'
import { number, bytes } from './text.js'

const rowHeight = 20, chunk = 200

/** The text of a large object, in a worker. */
export class LargeText {
	#worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
	/** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
	#asked = new Map()
	#ids = 0
	lines = 0
	size = 0

	constructor() {
		this.#worker.onmessage = ({ data: { id, error, ...answer } }) => {
			const { resolve, reject } = this.#asked.get(id) ?? {}
			this.#asked.delete(id)
			if (error) reject?.(new Error(error))
			else resolve?.(answer)
		}
	}

	/** @param {string} type @param {object} members @param {Transferable[]} [transfer] @returns {Promise<any>} */
	ask(type, members, transfer = []) {
		return new Promise((resolve, reject) => {
			const id = ++this.#ids
			this.#asked.set(id, { resolve, reject })
			this.#worker.postMessage({ id, type, ...members }, transfer)
		})
	}

	/** Takes the answer of the server. Returns the object without its data. @param {ArrayBuffer} buffer */
	async open(buffer) {
		const { head, lines, size } = await this.ask('open', { buffer }, [buffer])
		this.lines = lines
		this.size = size
		return JSON.parse(head)
	}

	async text() { return (await this.ask('text', {})).text }

	close() { this.#worker.terminate() }
}

export class Large extends Part {
	/** @type {LargeText | undefined} */
	source
	/** @type {Map<number, string>} */
	lines = new Map()
	/** @type {VirtualList | undefined} */
	list
	found = ''
	at = -1
	edit = () => {}

	connectedCallback() {
		super.connectedCallback()
		this.list = new VirtualList(/** @type {HTMLElement} */ (this.querySelector('.rows')), rowHeight, {
			count: () => this.source?.lines ?? 0,
			key: i => String(i),
			draw: (i, element) => {
				element.className = i === this.at ? 'line found' : 'line'
				element.dataset.n = number(i + 1)
				const text = this.lines.get(i) ?? ''
				if (element.textContent !== text) element.textContent = text
			},
			shown: (first, last) => this.ensure(first, last),
		})
	}

	disconnectedCallback() { this.list?.close() }

	/** @param {number} first @param {number} last */
	async ensure(first, last) {
		for (let from = Math.floor(first / chunk) * chunk; from <= last; from += chunk) {
			if (this.lines.has(from) || !this.source) continue
			const { lines } = await this.source.ask('lines', { from, to: from + chunk })
			if (this.lines.size > 5000) this.lines.clear()
			lines.forEach((/** @type {string} */ line, /** @type {number} */ i) => this.lines.set(from + i, line))
			this.list?.refresh()
		}
	}

	/** @param {string} text */
	async find(text) {
		if (!text || !this.source) return
		const { at } = await this.source.ask('find', { text, from: this.at + 1 })
		this.at = at
		this.found = at < 0 ? 'Not found' : `Line ${number(at + 1)}`
		if (at >= 0) this.list?.show(at)
		this.list?.refresh()
		this.invalidate()
	}

	view() {
		return html`<div class="large-head"><span class="dim">${bytes(this.source?.size ?? 0)}, ${number(this.source?.lines ?? 0)} lines</span>
				<form @submit=${(/** @type {any} */ e) => { e.preventDefault(); this.find(e.target.elements.find.value) }}><label><span class="hidden">Find in the object</span><input type="search" name="find" placeholder="Find"></label></form>
				<span role="status" class="dim">${this.found || nothing}</span>
				<button @click=${() => this.edit()}>Edit the text</button></div>
			<div class="rows code" tabindex="0" role="region" aria-label="The data of the object"></div>`
	}
}

customElements.define('oo-large', Large)
