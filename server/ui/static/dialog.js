// Dialogs: a question, or a form. The element is the browser's own, which keeps the focus inside and gives it back.

import { html, render, nothing } from './vendor/lit-html.js'

/**
 * @typedef {object} Ask
 * @property {string} title
 * @property {(redraw: () => void) => unknown} [body]
 * @property {string} [confirm] the button that does it; none for a dialog that only shows
 * @property {boolean} [danger]
 * @property {() => boolean} [ready] whether it can be done
 * @property {(done: () => void) => void | Promise<void>} [run] does it; the dialog stays open and shows what it throws. Without it the answer is enough
 * @property {string} [kind] a class
 * @property {string} [cancel]
 * @property {boolean} [must] it cannot be left
 */

/** Opens a dialog, and returns whether it was confirmed. @param {Ask} ask @returns {Promise<boolean>} */
export function ask(ask) {
	const dialog = document.createElement('dialog')
	dialog.className = 'dialog ' + (ask.kind ?? '')
	dialog.setAttribute('aria-labelledby', 'dialog-title')
	let error = '', busy = false, confirmed = false
	const close = () => dialog.close()
	const submit = async (/** @type {Event} */ event) => {
		event.preventDefault()
		if (busy || ask.ready && !ask.ready()) return
		if (!ask.run) { confirmed = true; close(); return }
		busy = true
		error = ''
		draw()
		try {
			await ask.run(close)
			confirmed = true
			close()
		} catch (problem) {
			error = problem instanceof Error ? problem.message : String(problem)
		}
		busy = false
		draw()
	}
	function draw() {
		const body = ask.body?.(draw)
		render(html`<form @submit=${submit} novalidate>
			<header><h2 id="dialog-title">${ask.title}</h2>
				${ask.must ? nothing : html`<button type="button" class="icon" aria-label="Close" @click=${close}>✕</button>`}</header>
			<div class="body">${body}</div>
			${error ? html`<p class="bad" role="alert">${error}</p>` : nothing}
			${ask.confirm ? html`<footer>
				${ask.must ? nothing : html`<button type="button" @click=${close}>${ask.cancel ?? 'Cancel'}</button>`}
				<button class=${ask.danger ? 'danger' : 'primary'} ?disabled=${busy || (ask.ready ? !ask.ready() : false)}>${busy ? 'One moment…' : ask.confirm}</button>
			</footer>` : nothing}
		</form>`, dialog)
	}
	document.body.append(dialog)
	draw()
	dialog.addEventListener('cancel', event => { if (ask.must) event.preventDefault() })
	dialog.addEventListener('pointerdown', event => { if (event.target === dialog && !ask.must) close() })
	return new Promise(resolve => {
		dialog.addEventListener('close', () => { dialog.remove(); resolve(confirmed) })
		dialog.showModal()
		// A question that destroys something has its way out first.
		const first = dialog.querySelector('.body input, .body textarea, .body select') ?? dialog.querySelector(ask.danger ? 'footer button' : 'footer .primary') ?? dialog.querySelector('button')
		if (first instanceof HTMLElement) first.focus()
	})
}
