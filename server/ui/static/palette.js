// The palette, which finds commands by name and paths of the store; and all keys.

import { html, nothing, render } from './vendor/lit-html.js'
import { ask } from './dialog.js'
import { goList } from './state.js'
import { json, query } from './api.js'
import { goTo } from './filters.js'
import { isGlob, wrongWith, listOf, parent } from './path.js'
import { commands, usable } from './keys.js'

/** @typedef {import('./keys.js').Command} Command */

/** Shows all keys. */
export function help() {
	const keys = (/** @type {string} */ text) => text.split(' ').map(key => html`<kbd>${key}</kbd> `)
	const rows = [['Ctrl K', 'Find a command or a path'], ...commands.filter(c => c.keys).map(c => [/** @type {string} */ (c.keys), c.name]),
		['↑ ↓ PageUp PageDown Home End', 'In the tree and in a list'], ['→ ←', 'Open and close a directory'], ['Enter', 'Open the marked row'], ['Space', 'Select a row'],
		['Shift ↓', 'Select several'], ['Ctrl A', 'Select all loaded rows'], ['Delete', 'Delete the selection'], ['Esc', 'Close, or clear the selection']]
	ask({ title: 'Keys', kind: 'wide', body: () => html`<dl class="keys">${rows.map(([key, name]) => html`<div><dt>${keys(key)}</dt><dd>${name}</dd></div>`)}</dl>` })
}

/** Opens the palette: commands by name, and paths of the store. @param {string} typed what was typed already */
export function palette(typed) {
	if (document.querySelector('dialog[open]')) return
	const dialog = document.createElement('dialog')
	dialog.className = 'dialog palette'
	dialog.setAttribute('aria-label', 'Commands and paths')
	let active = 0
	/** @type {Command[]} */
	let paths = []
	const found = () => {
		const words = typed.toLowerCase().split(/\s+/).filter(Boolean)
		const some = usable().filter(({ name }) => words.every(word => name.toLowerCase().includes(word)))
		return [...paths, ...some].slice(0, 30)
	}
	const run = (/** @type {Command | undefined} */ command) => { if (!command) return; dialog.close(); setTimeout(command.run) }
	let asked = 0
	const look = async () => {
		const path = typed.trim().replace(/^\/+/, ''), mine = ++asked
		paths = []
		if (path && !/\s/.test(path) && !wrongWith(path.replace(/\/$/, ''))) {
			const there = { name: `Go to ${path}`, run: () => goTo(path) }
			paths.push(there)
			if (!isGlob(path)) {
				const directory = parent(path), start = path.slice(directory ? directory.length + 1 : 0)
				const after = start ? start.slice(0, -1) + String.fromCharCode(start.charCodeAt(start.length - 1) - 1) + '~' : ''
				try {
					const part = await json('/~/directories' + query({ path: directory, after, limit: 6 }))
					if (mine !== asked) return
					paths.length = 0
					for (const one of part.directories) {
						const full = directory ? `${directory}/${one.name}` : one.name
						if (one.name.startsWith(start)) paths.push({ name: full + '/', run: () => goList(listOf(full)) })
					}
					paths.push(there)
				} catch { /* a directory that is not read offers nothing */ }
			}
		}
		active = Math.min(active, Math.max(0, found().length - 1))
		draw()
	}
	function draw() {
		const some = found()
		render(html`<input class="palette-input" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-autocomplete="list" aria-label="Command or path" aria-activedescendant=${some.length ? 'command-' + active : nothing}
				placeholder="A command, or a path such as cities/PT" spellcheck="false" autocapitalize="off" autocomplete="off" .value=${typed}
				@input=${(/** @type {any} */ e) => { typed = e.target.value; active = 0; draw(); look() }}
				@keydown=${(/** @type {KeyboardEvent} */ e) => {
					if (e.key === 'ArrowDown') active = Math.min(some.length - 1, active + 1)
					else if (e.key === 'ArrowUp') active = Math.max(0, active - 1)
					else if (e.key === 'Enter') { e.preventDefault(); run(found()[active]); return } else return
					e.preventDefault()
					draw()
					dialog.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' })
				}}>
			<ul id="palette-list" role=${some.length ? 'listbox' : nothing} aria-label="Results">${some.map((command, i) => html`<li role="option" id=${'command-' + i} aria-selected=${String(i === active)} @click=${() => run(command)}
				@pointermove=${() => { if (active !== i) { active = i; draw() } }}><span class=${command.keys || !paths.includes(command) ? '' : 'mono'}>${command.name}</span>${command.keys ? html`<span class="keys">${command.keys.split(' ').map(key => html`<kbd>${key}</kbd>`)}</span>` : nothing}</li>`)}</ul>
			${some.length ? nothing : html`<p class="dim note">Nothing of that name. A path has letters, digits, - _ . and / between its segments.</p>`}`, dialog)
	}
	document.body.append(dialog)
	draw()
	dialog.addEventListener('close', () => dialog.remove())
	dialog.addEventListener('pointerdown', event => { if (event.target === dialog) dialog.close() })
	dialog.showModal()
	const input = /** @type {HTMLInputElement} */ (dialog.querySelector('input'))
	input.setSelectionRange(typed.length, typed.length)
	look()
}
