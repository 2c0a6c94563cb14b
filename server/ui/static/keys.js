// All that can be done, by its name and its key.

import { route, go, goList } from './state.js'
import { actions } from './actions.js'
import { nextTheme } from './theming.js'

/** @typedef {import('./list.js').List} List */
/** @typedef {{name: string, keys?: string, run: () => unknown, when?: () => boolean}} Command */

const list = () => /** @type {List | null} */ (document.querySelector('oo-list'))
const object = () => /** @type {import('./object.js').Edited | null} */ (document.querySelector('oo-object'))
const focus = (/** @type {string} */ selector) => { const found = /** @type {HTMLElement | null} */ (document.querySelector(selector)); found?.focus(); if (found instanceof HTMLInputElement) found.select() }
const inData = () => route.value.page === 'data'
const hasObject = () => inData() && Boolean(route.value.object) && !route.value.make

/** @type {Command[]} */
export const commands = [
	{ name: 'Go to a path or pattern', keys: 'G', run: () => { if (!inData()) go({ page: 'data' }); queueMicrotask(() => requestAnimationFrame(() => focus('.pattern input'))) } },
	{ name: 'Search the text of the list', keys: '/', when: inData, run: () => focus('#search') },
	{ name: 'Focus the tree', keys: 'T', when: inData, run: () => { document.querySelector('oo-app')?.classList.add('tree-open'); requestAnimationFrame(() => focus('oo-tree .rows')) } },
	{ name: 'Focus the list', keys: 'L', when: inData, run: () => focus('oo-list .grid') },
	{ name: 'Focus the object', keys: 'O', when: hasObject, run: () => focus('oo-object textarea, oo-object .rows') },
	{ name: 'Go to a row by number', keys: 'R', when: inData, run: () => focus('.jump input') },
	{ name: 'New object', keys: 'N', run: () => actions.create(list() ?? undefined) },
	{ name: 'Push to a list', keys: 'U', when: inData, run: () => actions.push() },
	{ name: 'Pause, or go on', keys: 'P', when: inData, run: () => list()?.pause() },
	{ name: 'Reverse the order', keys: 'S', when: inData, run: () => go({ order: route.value.order === 'desc' ? 'asc' : 'desc', at: 0 }) },
	{ name: 'Save the object', keys: 'Ctrl S', when: () => inData() && Boolean(route.value.object || route.value.make), run: () => object()?.save() },
	{ name: 'Format the object', keys: 'Alt Shift F', when: hasObject, run: () => object()?.code?.format() },
	{ name: 'Delete the object', when: hasObject, run: () => object()?.discard() },
	{ name: 'Delete this list', when: inData, run: () => { const there = list(); if (there) actions.removeAll(there) } },
	{ name: 'Import a file', when: inData, run: () => { const there = list(); if (there) actions.importFile(there) } },
	{ name: 'Export this list', when: inData, run: () => { const there = list(); if (there) actions.exportAll(there) } },
	{ name: 'Everything, newest first', run: () => goList('**') },
	{ name: 'Inside: activity and health', keys: 'I', run: () => go({ page: 'inside', tab: '' }) },
	{ name: 'Inside: who follows what', run: () => go({ page: 'inside', tab: 'connections' }) },
	{ name: 'Inside: tokens', run: () => go({ page: 'inside', tab: 'tokens' }) },
	{ name: 'Dark, light, or system theme', keys: 'D', run: nextTheme },
	{ name: 'All keys', keys: '?', run: () => help() },
	{ name: 'Enter another token', run: async () => (await import('./login.js')).login('Enter another token.', true) },
]

export const usable = () => commands.filter(command => command.when?.() ?? true)

export const help = async () => (await import('./palette.js')).help()

/** What is typed while the palette is loaded goes into it. @type {string | undefined} */
let early

/** Opens the palette. */
export async function palette() {
	if (early !== undefined) return
	early = ''
	const collect = (/** @type {KeyboardEvent} */ event) => {
		if (event.key.length !== 1 || event.ctrlKey || event.metaKey || event.altKey) return
		event.preventDefault()
		event.stopImmediatePropagation()
		early += event.key
	}
	addEventListener('keydown', collect, true)
	try {
		const module = await import('./palette.js')
		module.palette(early)
	} finally {
		removeEventListener('keydown', collect, true)
		early = undefined
	}
}

document.addEventListener('keydown', event => {
	if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') { event.preventDefault(); palette(); return }
	if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
	const target = /** @type {HTMLElement} */ (event.target)
	if (target.closest('input, textarea, select, [contenteditable], dialog')) return
	if (event.key === 'Escape' && document.querySelector('oo-app.tree-open')) { document.querySelector('oo-app')?.classList.remove('tree-open'); return }
	const key = event.key.length === 1 ? event.key.toUpperCase() : event.key
	const command = usable().find(({ keys }) => keys === key)
	if (!command) return
	event.preventDefault()
	command.run()
})
