// An object: what it is, and what becomes of it. Nothing is overwritten that was not seen, and nothing that was typed is lost.

import { html, nothing } from './vendor/lit-html.js'
import { Part } from './element.js'
import { request, words, Problem, me, mayWrite } from './api.js'
import { route, go, draft, keepDraft, tell } from './state.js'
import { check, parse, print, same, dataOf } from './json.js'
import { ask } from './dialog.js'
import { review, resolve } from './review.js'
import { wrongWith, escape, parent, listOf } from './path.js'
import { watch } from './watch.js'
import { copyMenu } from './copyas.js'
import { LargeText } from './large.js'
import './code.js'
import { time, fullTime, duration, bytes } from './text.js'

const full = 'application/vnd.oolith+json, application/problem+json'
/** From how many bytes on an object is looked at in parts. */
const large = 200_000

/** @typedef {{created: number, updated: number, revision: number, expires?: number}} Meta */
/** @typedef {{raw: string, etag: string, meta: Meta}} Version */

export class Edited extends Part {
	path = ''
	make = ''
	/** What is on the server, as far as it is known; null for nothing. @type {Version | null} */
	base = null
	/** What was laid out of it: text that is equal to it is not changed. */
	shown = ''
	text = ''
	/** A newer version, while the text is changed; null when it was deleted. @type {Version | null | undefined} */
	theirs
	loading = false
	error = ''
	saving = false
	/** What becomes of the end: as it is, none, or a time to live. */
	ends = 'keep'
	ttl = ''
	/** @type {LargeText | undefined} */
	big
	/** @type {(() => void)[]} */
	stops = []
	/** @type {(() => void) | undefined} */
	unwatch
	#load = 0

	/** @returns {import('./code.js').Code | null} */
	get code() { return /** @type {any} */ (this.querySelector('oo-code')) }
	get dirty() { return !this.big && this.text !== this.shown }

	connectedCallback() {
		super.connectedCallback()
		this.stops.push(route.follow(() => this.follow()), me.follow(() => { if (this.error && !wrongWith(this.path, false)) this.load() }))
		this.follow()
	}

	disconnectedCallback() {
		for (const stop of this.stops) stop()
		this.stops = []
		this.unwatch?.()
		this.big?.close()
	}

	follow() {
		const { object, make } = route.value
		if (object === this.path && make === this.make) return
		this.unwatch?.()
		this.big?.close()
		this.big = this.theirs = this.unwatch = undefined
		this.path = object
		this.make = make
		this.base = null
		this.error = this.ttl = this.shown = this.text = ''
		this.ends = 'keep'
		if (make) {
			const kept = draft('new')
			this.shown = '{\n  \n}'
			this.setText(kept?.text ?? this.shown)
			this.invalidate()
			return
		}
		if (!object) return
		const wrong = wrongWith(object, false)
		if (wrong) {
			this.error = `“${object}” is no path: ${wrong}.`
			this.invalidate()
			return
		}
		this.load()
		this.unwatch = watch(object, changed => { if (changed || this.base || this.error) this.look() })
	}

	/** Reads the object. @returns {Promise<Version | null>} */
	async read() {
		const response = await request('/' + escape(this.path), { headers: { Accept: full }, accept: [404] })
		if (response.status === 404) return null
		const answer = await response.text()
		const raw = dataOf(answer), at = answer.indexOf('"data":') + 7
		return { raw, etag: response.headers.get('ETag') ?? '', meta: JSON.parse(answer.slice(0, at) + 'null' + answer.slice(at + raw.length)) }
	}

	async load() {
		const load = ++this.#load, path = this.path
		this.loading = true
		this.error = ''
		this.invalidate()
		try {
			const response = await request('/' + escape(path), { headers: { Accept: full }, accept: [404] })
			if (response.status === 404) {
				if (load !== this.#load) return
				const kept = draft(path)
				this.base = null
				if (kept) { this.setText(kept.text); this.theirs = null } else this.error = 'gone'
			} else {
				const buffer = await response.arrayBuffer()
				const etag = response.headers.get('ETag') ?? ''
				if (load !== this.#load) return
				if (buffer.byteLength > large && !draft(path)) await this.openLarge(buffer, etag, load)
				else this.take(new TextDecoder().decode(buffer), etag)
			}
		} catch (error) {
			if (load !== this.#load) return
			this.error = words(error)
		}
		if (load !== this.#load) return
		this.loading = false
		this.invalidate()
	}

	/** @param {ArrayBuffer} buffer @param {string} etag @param {number} load */
	async openLarge(buffer, etag, load) {
		const big = new LargeText()
		const meta = await big.open(buffer)
		if (load !== this.#load) { big.close(); return }
		this.big?.close()
		this.big = big
		this.base = { raw: '', etag, meta }
		this.text = this.shown = ''
	}

	/** Puts the text of a large object into the field. */
	async editLarge() {
		if (!this.big || !this.base) return
		const text = await this.big.text()
		this.big.close()
		this.big = undefined
		this.base.raw = text
		this.shown = text
		this.setText(text)
	}

	/** Shows an answer of the server. @param {string} answer @param {string} etag */
	take(answer, etag) {
		const raw = dataOf(answer), at = answer.indexOf('"data":') + 7
		this.base = { raw, etag, meta: JSON.parse(answer.slice(0, at) + 'null' + answer.slice(at + raw.length)) }
		this.shown = print(parse(raw))
		const kept = draft(this.path)
		if (kept && kept.text !== this.shown) {
			this.setText(kept.text)
			if (kept.etag && kept.etag !== etag) {
				this.theirs = this.base
				this.base = { raw: kept.base, etag: kept.etag, meta: this.base.meta }
				this.shown = print(parse(kept.base))
			}
		} else this.setText(this.shown)
	}

	/** @param {string} text */
	setText(text) {
		this.text = text
		this.code?.set(text)
		this.invalidate()
	}

	/** The object changed on the server, or may have. */
	async look() {
		if (this.saving || this.loading || this.make) return
		const path = this.path
		try {
			if (this.big || !this.base && !this.dirty) {
				const response = await request('/' + escape(path), { method: 'HEAD', accept: [404, 304], headers: this.base ? { 'If-None-Match': this.base.etag } : {} })
				if (path !== this.path || response.status === 304 || response.status === 404 && !this.base) return
				if (response.status === 404) { this.theirs = null; this.invalidate(); return }
				await this.load()
				return
			}
			const now = await this.read()
			if (path !== this.path || this.saving) return
			if (now?.etag === this.base?.etag) { if (this.theirs) this.theirs = undefined; this.invalidate(); return }
			if (this.dirty || now === null) this.theirs = now
			else {
				this.base = now
				this.shown = print(parse(now.raw))
				this.theirs = undefined
				this.setText(this.shown)
				this.classList.remove('flashed')
				void this.offsetWidth
				this.classList.add('flashed')
			}
		} catch (error) {
			if (error instanceof Problem && (error.status === 0 || error.status === 401)) return // the page says so
			this.error = words(error)
		}
		this.invalidate()
	}

	/** @param {string} text */
	typed(text) {
		this.text = text
		const key = this.make ? 'new' : this.path
		keepDraft(key, this.dirty ? { text, base: this.base?.raw ?? 'null', etag: this.base?.etag ?? '', ttl: this.ttl } : undefined)
		this.invalidate()
	}

	/** Where a new object goes. */
	get target() { return this.make ? /** @type {HTMLInputElement | null} */ (this.querySelector('#new-path'))?.value.trim() ?? '' : this.path }

	/** Shows what is about to change, and saves it. */
	async save() {
		if (this.saving || this.big) return
		const target = this.target
		const wrong = wrongWith(target, this.make !== 'new')
		if (this.make && (wrong || this.make === 'push' && !target.endsWith('/*'))) {
			this.error = wrong ? `“${target}”: ${wrong}.` : `“${target}”: expected a list that ends in /*, such as log/*.`
			this.invalidate()
			const field = /** @type {HTMLInputElement} */ (this.querySelector('#new-path'))
			field.focus()
			return
		}
		const problem = check(this.text)
		if (problem) { this.code?.toProblem(); this.invalidate(); return }
		if (this.theirs !== undefined && this.theirs !== null) { await this.conflict(); return }
		this.error = ''
		const before = this.base && this.theirs !== null ? print(parse(this.base.raw)) : ''
		const sure = await review({ path: target, before, after: print(parse(this.text)), fresh: !before, ends: this.endsIn, run: () => this.send(target) })
		if (!sure) this.code?.area.focus()
	}

	/** What saving does to the end of the object, in words; '' where that is clear. */
	get endsIn() {
		const expires = this.base?.meta.expires
		if (this.ends === 'after') return `It expires ${this.ttl || '…'} after it is saved.`
		if (!expires) return ''
		return this.ends === 'never' ? 'It no longer expires.' : `It still expires ${time(expires)}.`
	}

	/** The time to live that is sent. */
	get lifetime() {
		const expires = this.base?.meta.expires
		if (this.ends === 'after') return this.ttl.trim()
		if (this.ends === 'keep' && expires && this.theirs !== null) return String(Math.max(1, Math.ceil((expires / 1e6 - Date.now()) / 1000)))
		return ''
	}

	/** @param {string} target */
	async send(target) {
		const fresh = !this.base || this.theirs === null
		/** @type {Record<string, string>} */
		const headers = { 'Content-Type': 'application/json', Accept: full, Prefer: 'return=representation' }
		if (this.make !== 'push') headers[fresh ? 'If-None-Match' : 'If-Match'] = fresh ? '*' : this.base?.etag ?? ''
		if (this.lifetime) headers['Oolith-TTL'] = this.lifetime
		this.saving = true
		this.invalidate()
		try {
			const response = await request('/' + escape(target).replaceAll('%2A', '*'), { method: this.make === 'push' ? 'POST' : 'PUT', headers, body: this.text, accept: [412] })
			if (response.status === 412) {
				const now = this.make ? null : await this.read()
				if (this.make || fresh) throw new Problem(412, this.make ? `There is already an object at ${target}; open it to change it` : 'There is an object again in the meantime')
				this.theirs = now
				queueMicrotask(() => this.conflict())
				return
			}
			const answer = await response.text()
			keepDraft(this.make ? 'new' : this.path, undefined)
			this.theirs = undefined
			this.ends = 'keep'
			this.ttl = ''
			const made = JSON.parse(answer.slice(0, answer.indexOf('"data":')) + '"data":0}').path
			if (this.make) {
				this.text = this.shown = ''
				tell(`${made} is saved.`)
				go({ object: made, make: '', ...(route.value.pattern ? {} : { pattern: listOf(parent(made)) }) })
				return
			}
			this.take(answer, response.headers.get('ETag') ?? '')
			tell('Saved.')
		} finally {
			this.saving = false
			this.invalidate()
		}
	}

	/** Somebody else changed the object: brings both changes together. */
	async conflict() {
		if (!this.theirs || !this.base) return
		const problem = check(this.text)
		if (problem) { this.code?.toProblem(); return }
		const theirs = this.theirs
		const merged = await resolve({ path: this.path, base: parse(this.base.raw), mine: parse(this.text), theirs: parse(theirs.raw) })
		if (!merged) return
		this.base = theirs
		this.shown = print(parse(theirs.raw))
		this.theirs = undefined
		this.setText(print(merged))
		this.typed(this.text)
		if (same(merged, parse(theirs.raw))) tell('The server already has your version; there is nothing to save.')
		else this.save()
	}

	/** Leaves what was typed. */
	async revert() {
		if (this.dirty && !await ask({ title: 'Discard your text?', body: () => html`<p>The editor shows the server's version. Your text is lost.</p>`, confirm: 'Discard', danger: true })) return
		keepDraft(this.make ? 'new' : this.path, undefined)
		if (this.theirs === null) { this.theirs = undefined; this.text = this.shown = ''; this.base = null; this.error = 'gone'; this.invalidate(); return }
		if (this.theirs) { this.base = this.theirs; this.shown = print(parse(this.base.raw)); this.theirs = undefined }
		this.setText(this.shown)
	}

	async discard() {
		const base = this.base
		if (!base) return
		const gone = await ask({
			title: 'Delete this object?', danger: true, confirm: 'Delete it',
			body: () => html`<p class="path-line mono">${this.path}</p><p>Its data is gone for good: ${bytes(this.big?.size ?? base.raw.length)}.</p>`,
			run: async () => {
				const response = await request('/' + escape(this.path), { method: 'DELETE', headers: { 'If-Match': base.etag }, accept: [404, 412] })
				if (response.status !== 412) return
				await this.look()
				throw new Problem(412, 'It changed in the meantime and was not deleted; review it first')
			},
		})
		if (!gone) return
		keepDraft(this.path, undefined)
		this.text = this.shown
		this.close()
		tell(`${this.path} is deleted.`)
	}

	close() {
		if (this.dirty) tell('Your text is kept; open the object again to continue.')
		go({ object: '', make: '' })
		const grid = /** @type {HTMLElement | null} */ (document.querySelector('oo-list .grid'))
		grid?.focus()
	}

	/** @param {KeyboardEvent} event */
	key(event) {
		const command = event.ctrlKey || event.metaKey
		if (command && event.key === 's') { event.preventDefault(); this.save() }
		else if (event.altKey && event.shiftKey && event.code === 'KeyF') { event.preventDefault(); this.code?.format() }
		else if (event.key === 'Escape' && !event.defaultPrevented) { event.preventDefault(); this.close() }
	}

	view() {
		if (!this.path && !this.make) return nothing
		return html`<section class="object" aria-label=${this.make ? 'New object' : 'Object ' + this.path} @keydown=${(/** @type {KeyboardEvent} */ e) => this.key(e)}>
			${this.head()}${this.notes()}${this.body()}</section>`
	}

	head() {
		const meta = this.base?.meta
		if (this.make) return html`<header class="object-head">
			<h2>${this.make === 'push' ? 'Push to a list' : 'New object'}</h2><button class="icon" aria-label="Close the object" title="Close (Esc)" @click=${() => this.close()}>✕</button>
			<label class="wide">${this.make === 'push' ? 'List: the server gives the name' : 'Path'}<input id="new-path" class="mono" .value=${this.path} placeholder=${this.make === 'push' ? 'log/*' : 'cities/lisbon'} spellcheck="false" autocapitalize="off" autocomplete="off"></label></header>`
		return html`<header class="object-head">
			<h2 class="mono" title=${this.path}><span class="dim">${parent(this.path) ? parent(this.path) + '/' : ''}</span>${this.path.slice(parent(this.path) ? parent(this.path).length + 1 : 0)}</h2>
			<button class="icon" aria-label="Close the object" title="Close (Esc)" @click=${() => this.close()}>✕</button>
			${meta ? html`<p class="facts"><span title=${fullTime(meta.created)}>Created ${time(meta.created)}</span><span title=${fullTime(meta.updated)}>${meta.updated ? 'Changed ' + time(meta.updated) : 'Never changed'}</span><span>Revision ${meta.revision}</span>
				${meta.expires ? html`<span class="ends" title=${fullTime(meta.expires)}>Ends in ${duration(Math.max(0, meta.expires / 1e9 - Date.now() / 1000))}</span>` : nothing}</p>` : nothing}</header>`
	}

	/** What has to be said about the object. */
	notes() {
		if (this.error === 'gone') return html`<div class="empty"><h2>There is no object at this path</h2><p class="mono">${this.path}</p>
			${mayWrite() ? html`<p><button class="primary" @click=${() => go({ make: 'new' })}>Make it</button></p>` : nothing}</div>`
		return html`
			${this.error ? html`<p class="banner bad" role="alert">${this.error} ${this.base || this.make ? nothing : html`<button @click=${() => this.load()}>Try again</button>`}</p>` : nothing}
			${this.theirs === null ? html`<p class="banner warn" role="alert">It was deleted on the server. ${this.dirty ? 'What you typed is still here; saving makes it anew.' : 'This is what it was; saving makes it anew.'}</p>` : nothing}
			${this.theirs ? html`<p class="banner warn" role="alert">Somebody else changed it in the meantime. <button @click=${() => this.conflict()}>Bring both together</button></p>` : nothing}`
	}

	body() {
		if (this.error === 'gone' || !this.make && !this.base && !this.text && this.theirs === undefined) return this.loading ? html`<div class="empty quiet"><p>Reading…</p></div>` : nothing
		if (this.big) return html`<oo-large .source=${this.big} .edit=${() => this.editLarge()}></oo-large>${this.bar()}`
		return html`<oo-code .value=${this.text} .changed=${(/** @type {string} */ text) => this.typed(text)} .readonly=${!mayWrite()}></oo-code>${this.bar()}`
	}

	bar() {
		const meta = this.base?.meta
		const can = mayWrite() && !this.saving && !this.big && (this.dirty || this.make !== '' || this.theirs === null || this.ends !== 'keep')
		return html`<footer class="object-bar">
			<div class="ends-line"><label>Ends <select @change=${(/** @type {any} */ e) => { this.ends = e.target.value; this.invalidate() }} .value=${this.ends} ?disabled=${Boolean(this.big)}>
				<option value="keep" ?selected=${this.ends === 'keep'}>${meta?.expires ? 'as it does' : 'never'}</option>
				${meta?.expires ? html`<option value="never" ?selected=${this.ends === 'never'}>never</option>` : nothing}
				<option value="after" ?selected=${this.ends === 'after'}>after…</option></select></label>
				${this.ends === 'after' ? html`<label><span class="hidden">Time to live</span><input size="6" .value=${this.ttl} placeholder="90m, 7d" @input=${(/** @type {any} */ e) => { this.ttl = e.target.value; this.invalidate() }}></label>` : nothing}</div>
			<span class="grow"></span>
			${this.make ? nothing : copyMenu(() => ({ kind: 'object', path: this.path, text: this.dirty ? this.text : '', etag: this.base?.etag ?? '' }))}
			${mayWrite() && this.base && this.theirs !== null && !this.make ? html`<button class="quiet-danger" @click=${() => this.discard()}>Delete</button>` : nothing}
			${this.big ? nothing : html`<button title="Format (Alt Shift F)" @click=${() => this.code?.format()}>Format</button>`}
			${this.dirty ? html`<button @click=${() => this.revert()}>Revert</button>` : nothing}
			<button class="primary" ?disabled=${!can} title="Save (Ctrl S)" @click=${() => this.save()}>${this.saving ? 'Saving…' : this.make === 'push' ? 'Push' : 'Save'}</button>
		</footer>`
	}

	drawn() {
		const code = this.code
		if (code && code.value !== this.text) code.set(this.text)
	}
}

customElements.define('oo-object', Edited)
