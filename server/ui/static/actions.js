// What is done to a list, or to the rows of it that are selected. What it takes is loaded when it is asked for.

import { html, nothing } from './vendor/lit-html.js'
import { route, go, tell } from './state.js'
import { mayWrite, words } from './api.js'
import { number } from './text.js'
import { isGlob, root, listOf } from './path.js'
import { closeOnEscape } from './menu.js'

/** @typedef {import('./list.js').List} List */

/** Does something that many modules are for. @param {() => Promise<unknown>} run */
const late = run => run().catch(error => tell(`${words(error)}.`, { bad: true }))
const operations = () => import('./operations.js').then(module => module.operations)

export const actions = {
	/** @param {List} [list] */
	create(list) {
		const { pattern } = route.value
		const directory = list?.rows?.asked.pattern && isGlob(pattern) ? root(pattern) : ''
		go({ page: 'data', object: directory ? directory + '/' : '', make: 'new' })
	},

	push() {
		const { pattern } = route.value
		go({ page: 'data', object: pattern.endsWith('/*') && !root(pattern).includes('*') ? pattern : listOf(root(pattern)), make: 'push' })
	},

	/** @param {List} list */
	remove: list => late(async () => (await operations()).remove(list)),
	/** @param {List} list */
	removeAll: list => late(async () => (await operations()).removeAll(list)),
	/** @param {List} list */
	merge: list => late(async () => (await operations()).merge(list)),
	/** @param {List} list */
	expire: list => late(async () => (await operations()).expire(list)),
	/** @param {List} list */
	exportSelected: list => late(async () => (await operations()).exportSelected(list)),
	/** @param {List} list */
	importFile: list => late(async () => (await import('./transfer.js')).importDialog(list)),
	/** @param {List} list */
	exportAll: list => late(async () => (await import('./transfer.js')).exportList(list)),

	/** @param {List} list */
	menu(list) {
		const { pattern, order, from, to } = route.value
		const ok = list.rows?.loaded && !list.rows.error
		const write = mayWrite()
		const item = (/** @type {string} */ name, /** @type {() => unknown} */ run, danger = false) => html`<button class=${danger ? 'quiet-danger' : ''} @click=${(/** @type {any} */ e) => { e.target.closest('details').open = false; run() }}>${name}</button>`
		const call = /** @type {const} */ ({ kind: 'list', pattern, order, from, to })
		const copyAs = async (/** @type {'curl' | 'go' | 'typescript'} */ language) => { const as = await import('./copyas.js'); as.copy(as[language](call), 'The call') }
		return html`<details class="menu" @keydown=${closeOnEscape}><summary class="icon" aria-label="More" title="More">⋯</summary><div class="sheet">
			${write && ok ? item('Push to a list', () => this.push()) : nothing}
			${write ? item('Import…', () => this.importFile(list)) : nothing}
			${ok ? item('Export this list', () => this.exportAll(list)) : nothing}
			${ok ? item('Copy as curl', () => copyAs('curl')) : nothing}
			${ok ? item('Copy as Go', () => copyAs('go')) : nothing}
			${ok ? item('Copy as TypeScript', () => copyAs('typescript')) : nothing}
			${write && list.rows?.total ? item('Delete this list…', () => this.removeAll(list), true) : nothing}
		</div></details>`
	},
}

/** What can be done with what is selected. @param {List} list */
export function bulkBar(list) {
	const write = mayWrite()
	return html`<div class="bulk" role="toolbar" aria-label="Selected objects"><strong>${number(list.selected.size)} selected</strong>
		<button @click=${() => actions.exportSelected(list)}>Export</button>
		${write ? html`<button @click=${() => actions.merge(list)}>Change…</button><button @click=${() => actions.expire(list)}>Let end…</button><button class="quiet-danger" @click=${() => actions.remove(list)}>Delete…</button>` : nothing}
		<span class="grow"></span><button class="icon" aria-label="Select nothing" @click=${() => list.clearSelection()}>✕</button></div>`
}
