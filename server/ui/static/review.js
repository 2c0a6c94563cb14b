// What is about to change, before it does; and two changes of one object, brought together.

import { html, nothing } from './vendor/lit-html.js'
import { ask } from './dialog.js'
import { diff, merge } from './merge.js'
import { print, compact } from './json.js'

/** @typedef {import('./json.js').Node} Node */

/** The lines that differ, with some around them. @param {string} before @param {string} after */
export function diffView(before, after) {
	const lines = diff(before, after), near = new Set()
	lines.forEach((line, i) => { if (line.sign !== ' ') for (let at = i - 3; at <= i + 3; at++) near.add(at) })
	const shown = [], most = 500
	let skipped = 0, changed = 0
	for (const [i, line] of lines.entries()) {
		if (!near.has(i)) { skipped++; continue }
		if (skipped) shown.push(html`<div class="gap">${skipped} equal lines</div>`)
		skipped = 0
		if (++changed > most) continue
		shown.push(html`<div class=${line.sign === '+' ? 'added' : line.sign === '-' ? 'removed' : 'kept'}><span aria-hidden="true">${line.sign}</span><span class="hidden">${line.sign === '+' ? 'added: ' : line.sign === '-' ? 'removed: ' : ''}</span>${line.text.slice(0, 500)}</div>`)
	}
	if (changed > most) shown.push(html`<div class="gap">${changed - most} more lines</div>`)
	return shown.length ? html`<div class="diff mono" tabindex="0" role="region" aria-label="What changes">${shown}</div>` : html`<p class="dim">The text is laid out otherwise; the value stays as it is.</p>`
}

/** Shows what changes and asks. @param {{path: string, before: string, after: string, fresh: boolean, ends: string, run: () => Promise<void>}} change */
export function review({ path, before, after, fresh, ends, run }) {
	return ask({
		title: fresh ? 'Save a new object?' : 'Save these changes?', confirm: 'Save', kind: 'wide', run,
		body: () => html`<p class="path-line mono">${path}</p>${diffView(before, after)}${ends ? html`<p class="dim">${ends}</p>` : nothing}`,
	})
}

/** Asks what becomes of two changes of one value. Returns the result, or undefined. @param {{path: string, base: Node, mine: Node, theirs: Node}} sides @returns {Promise<Node | undefined>} */
export async function resolve({ path, base, mine, theirs }) {
	/** @type {import('./merge.js').Conflict[]} */
	const conflicts = []
	merge(base, mine, theirs, conflict => { conflicts.push(conflict); return true })
	/** @type {Map<string, boolean>} */
	const chosen = new Map()
	const id = (/** @type {string[]} */ place) => place.join('\n')
	const result = () => merge(base, mine, theirs, ({ path: place }) => chosen.get(id(place)) ?? true)
	const short = (/** @type {Node | undefined} */ node) => { if (!node) return '(removed)'; const text = compact(node); return text.length > 300 ? text.slice(0, 300) + '…' : text }
	const sure = await ask({
		title: 'Somebody else changed it in the meantime', confirm: conflicts.length ? 'Take this' : 'Take both', kind: 'wide',
		ready: () => conflicts.every(({ path: place }) => chosen.has(id(place))),
		body: redraw => html`<p class="path-line mono">${path}</p>
			<p>${conflicts.length ? `Both changed the same in ${conflicts.length === 1 ? 'one place' : conflicts.length + ' places'}: choose. All other changes are merged.` : 'You and somebody else changed different parts. Both changes are in the result:'}</p>
			${conflicts.map((conflict, i) => html`<fieldset class="conflict"><legend class="mono">${conflict.path.join(' › ') || 'the whole'}</legend>
				<p class="dim">was <code>${short(conflict.base)}</code></p>
				${[true, false].map(side => html`<label class="check"><input type="radio" name=${'conflict-' + i} .checked=${chosen.get(id(conflict.path)) === side} @change=${() => { chosen.set(id(conflict.path), side); redraw() }}>
					<span>${side ? 'Mine' : 'Theirs'}</span> <code dir="auto">${short(side ? conflict.mine : conflict.theirs)}</code></label>`)}</fieldset>`)}
			<p class="dim">The result, against what is on the server:</p>${diffView(print(theirs), print(result() ?? theirs))}`,
	})
	return sure ? result() : undefined
}
