// A field for JSON: a text area, and behind it the same text in colours. The colours are ranges of one text, and no elements.

import { html, nothing } from './vendor/lit-html.js'
import { Part } from './element.js'
import { check, parse, print } from './json.js'

/** Beyond this a text has no colours. */
const mostColoured = 60_000

const tokens = /"(?:[^"\\]|\\.)*"(\s*:)?|-?\d[\d.eE+-]*|\b(?:true|false|null)\b/g

/** @type {Map<string, Map<object, Range[]>>} */
const coloured = new Map()

/** @param {object} owner @param {string} name @param {Range[]} ranges */
function paint(owner, name, ranges) {
	if (!CSS.highlights) return
	let owners = coloured.get(name)
	if (!owners) coloured.set(name, owners = new Map())
	if (ranges.length) owners.set(owner, ranges)
	else owners.delete(owner)
	CSS.highlights.set('json-' + name, new Highlight(...[...owners.values()].flat()))
}

export class Code extends Part {
	value = ''
	label = 'Data as JSON'
	/** @type {import('./json.js').SyntaxProblem | null} */
	problem = null
	readonly = false
	/** @type {(text: string) => void} */
	changed = () => {}
	caret = ''

	get area() { return /** @type {HTMLTextAreaElement} */ (this.querySelector('textarea')) }

	/** Shows another text. @param {string} text */
	set(text) {
		this.value = text
		this.problem = check(text)
		if (this.isConnected && this.area.value !== text) this.area.value = text
		this.draw()
		this.colour()
	}

	/** Puts a text in, as if it were typed: it can be undone. @param {string} text */
	replace(text) {
		this.area.focus()
		this.area.select()
		if (!document.execCommand('insertText', false, text)) { this.area.value = text; this.input() }
		this.area.setSelectionRange(0, 0)
		this.area.scrollTop = 0
	}

	get plain() { return this.value.length > mostColoured }

	input() {
		this.value = this.area.value
		clearTimeout(this.checking)
		// What takes long waits for a pause.
		if (this.plain) this.checking = setTimeout(() => { this.problem = check(this.value); this.invalidate() }, 400)
		else this.problem = check(this.value)
		this.changed(this.value)
		this.draw()
		this.colour()
		this.where()
	}

	/** @type {ReturnType<typeof setTimeout> | undefined} */
	checking

	/** Lays the text out anew. */
	format() {
		if (this.problem) { this.toProblem(); return }
		this.replace(print(parse(this.value)))
	}

	/** Puts the cursor where the error is. */
	toProblem() {
		if (!this.problem) return
		const { offset } = this.problem
		this.area.focus()
		this.area.setSelectionRange(offset, Math.min(this.value.length, offset + 1))
	}

	where() {
		if (this.plain) { this.caret = ''; return }
		const before = this.value.slice(0, this.area.selectionStart)
		this.caret = `Line ${before.split('\n').length}, column ${before.length - before.lastIndexOf('\n')}`
		this.invalidate()
	}

	colour() {
		const back = this.querySelector('pre')
		if (!back || !CSS.highlights) return
		const text = back.firstChild
		/** @type {Record<string, Range[]>} */
		const ranges = { name: [], string: [], number: [], word: [], error: [] }
		if (text?.nodeType === Node.TEXT_NODE && this.value.length <= mostColoured) {
			for (const found of this.value.matchAll(tokens)) {
				const range = new Range(), end = found.index + found[0].length - (found[1]?.length ?? 0)
				range.setStart(text, found.index)
				range.setEnd(text, end)
				ranges[found[1] !== undefined ? 'name' : found[0][0] === '"' ? 'string' : /[tfn]/.test(found[0][0]) ? 'word' : 'number'].push(range)
			}
			if (this.problem) {
				const range = new Range(), at = Math.min(this.problem.offset, this.value.length)
				range.setStart(text, Math.max(0, at === this.value.length ? at - 1 : at))
				range.setEnd(text, Math.min(this.value.length, at + 1))
				ranges.error.push(range)
			}
		}
		for (const [name, some] of Object.entries(ranges)) paint(this, name, some)
	}

	connectedCallback() {
		super.connectedCallback()
		const back = document.createElement('pre')
		back.setAttribute('aria-hidden', 'true')
		this.querySelector('.layers')?.prepend(back)
		this.area.value = this.value
		this.set(this.value)
	}

	disconnectedCallback() { for (const name of coloured.keys()) paint(this, name, []) }

	drawn() {
		const back = this.querySelector('pre')
		this.classList.toggle('plain', this.plain)
		if (back && this.plain) { back.textContent = ''; return }
		// A text area ends with a line of its own where its text ends with a break.
		if (back && back.textContent !== this.value + '\n') back.textContent = this.value + '\n'
	}

	view() {
		return html`<div class="layers"><textarea aria-label=${this.label} spellcheck="false" autocapitalize="off" autocomplete="off" dir="ltr" ?readonly=${this.readonly} aria-invalid=${this.problem ? 'true' : 'false'} aria-describedby="code-state"
				@input=${() => this.input()} @keyup=${() => this.where()} @click=${() => this.where()}
				@scroll=${(/** @type {any} */ e) => { const back = this.querySelector('pre'); if (back) back.scrollTop = e.target.scrollTop }}></textarea></div>
			<p class="code-state" id="code-state" role="status">${this.problem
				? html`<button class="link bad" @click=${() => this.toProblem()}>${this.problem.words}</button>`
				: html`<span class="dim">${this.caret || nothing}</span>`}</p>`
	}
}

customElements.define('oo-code', Code)
