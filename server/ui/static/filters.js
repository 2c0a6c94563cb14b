// What stands above a list: its pattern, the text that is searched, times, order, columns, and what can be done with it.

import { html, nothing } from './vendor/lit-html.js'
import { go, route } from './state.js'
import { isGlob, wrongWith, listOf } from './path.js'
import { actions } from './actions.js'
import { mayWrite } from './api.js'
import { closeOnEscape } from './menu.js'

/** @typedef {import('./list.js').List} List */

const ranges = [['', 'Any time'], ['5m', 'Last 5 minutes'], ['1h', 'Last hour'], ['1d', 'Last day'], ['7d', 'Last week']]

/** @type {ReturnType<typeof setTimeout> | undefined} */
let typing

/** Goes to what was typed: a pattern, an object, or a directory. @param {string} typed */
export function goTo(typed) {
	const path = typed.trim().replace(/^\/+/, '')
	if (path.endsWith('/')) go({ pattern: listOf(path.slice(0, -1)) }, { fresh: true })
	else if (path && !isGlob(path) && !wrongWith(path)) go({ pattern: listOf(path.slice(0, Math.max(0, path.lastIndexOf('/')))), object: path }, { fresh: true })
	else go({ pattern: path }, { fresh: true })
}

/** @param {List} list */
export function filters(list) {
	const { pattern, text, from, to, order } = route.value
	const custom = Boolean(to || from && !ranges.some(([value]) => value === from))
	const bad = list.wrong && list.wrong !== 'nothing'
	return html`<div class="filters">
		<form class="pattern" role="search" aria-label="Pattern" @submit=${(/** @type {any} */ e) => { e.preventDefault(); goTo(e.target.elements.pattern.value) }}>
			<label><span class="hidden">Path or pattern</span><input name="pattern" class="mono" .value=${pattern} placeholder="path or pattern, such as cities/*/*" spellcheck="false" autocapitalize="off" autocomplete="off"
				aria-invalid=${bad ? 'true' : 'false'}></label>
		</form>
		<label class="search"><span class="hidden">Text in the objects</span><input type="search" id="search" .value=${text} placeholder="Text in path or data" spellcheck="false"
			@input=${(/** @type {any} */ e) => { clearTimeout(typing); const value = e.target.value; typing = setTimeout(() => go({ text: value, at: 0 }, { replace: true }), 250) }}></label>
		<div class="tools">
			<label><span class="hidden">Time of creation</span><select .value=${custom ? 'custom' : from} @change=${(/** @type {any} */ e) => {
				if (e.target.value === 'custom') go({ from: local(Date.now() - 864e5), to: local(Date.now()), at: 0 })
				else go({ from: e.target.value, to: '', at: 0 })
			}}>${ranges.map(([value, name]) => html`<option value=${value} ?selected=${!custom && value === from}>${name}</option>`)}<option value="custom" ?selected=${custom}>Between…</option></select></label>
			<button class="icon" title=${order === 'desc' ? 'Newest first' : 'Oldest first'} aria-label=${order === 'desc' ? 'Newest first; show the oldest first' : 'Oldest first; show the newest first'}
				@click=${() => go({ order: order === 'desc' ? 'asc' : 'desc', at: 0 })}>${order === 'desc' ? '↓' : '↑'}</button>
			<button class=${list.paused ? 'icon on' : 'icon'} aria-pressed=${String(list.paused)} aria-label=${list.paused ? 'Go on' : 'Pause'} title=${list.paused ? 'Show changes again (P)' : 'Pause (P)'} @click=${() => list.pause()}>${list.paused ? '▶' : '❚❚'}</button>
			${columnMenu(list)}
			${actions.menu(list)}
			${mayWrite() ? html`<button class="primary" title="New object (N)" @click=${() => actions.create(list)}>New</button>` : nothing}
		</div>
		${custom ? html`<div class="between">
			<label>From <input type="datetime-local" step="1" .value=${from} @change=${(/** @type {any} */ e) => go({ from: e.target.value, at: 0 })}></label>
			<label>to <input type="datetime-local" step="1" .value=${to} @change=${(/** @type {any} */ e) => go({ to: e.target.value, at: 0 })}></label>
			<button @click=${() => go({ from: '', to: '', at: 0 })}>Any time</button></div>` : nothing}
		${list.paused && list.waiting ? html`<p class="waiting" role="status">Paused. <button class="link" @click=${() => list.pause()}>Show ${list.waiting.toLocaleString('en')} changes</button></p>` : nothing}
	</div>`
}

/** @param {number} at */
const local = at => new Date(at - new Date(at).getTimezoneOffset() * 6e4).toISOString().slice(0, 19)

/** @param {List} list */
function columnMenu(list) {
	if (list.members.length < 2) return nothing
	const shown = new Set(list.columns)
	const set = (/** @type {string} */ name, /** @type {boolean} */ on) => {
		const columns = list.columns.filter(c => c && (on || c !== name))
		if (on) columns.push(name)
		go({ columns: columns.join(',') })
	}
	return html`<details class="menu" @keydown=${closeOnEscape}><summary class="icon" aria-label="Columns" title="Columns">▦</summary>
		<div class="sheet"><p class="dim">Columns</p>
			${list.members.map(name => html`<label class="check"><input type="checkbox" .checked=${shown.has(name)} @change=${(/** @type {any} */ e) => set(name, e.target.checked)}> <span dir="auto">${name}</span></label>`)}
			${route.value.columns ? html`<button @click=${() => go({ columns: '' })}>Default columns</button>` : nothing}
		</div></details>`
}
