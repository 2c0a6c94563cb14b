// Login by a token. Nothing of the page goes away meanwhile.

import { html } from './vendor/lit-html.js'
import { ask } from './dialog.js'
import { setToken, token, identify, Problem } from './api.js'

let open = false

/** Asks for a token. @param {string} why @param {boolean} [optional] it can be left @returns {Promise<void>} */
export async function login(why, optional = false) {
	if (open) return
	open = true
	const before = token()
	let text = '', keep = false
	try {
		await ask({
			title: 'Token', confirm: 'Go on', must: !optional, ready: () => text.trim() !== '',
			body: redraw => html`<p>${why}</p>
				<label class="wide">Token<input type="password" autocomplete="off" spellcheck="false" placeholder="oolith_…" @input=${(/** @type {any} */ e) => { text = e.target.value; redraw() }}></label>
				<label class="check"><input type="checkbox" .checked=${keep} @change=${(/** @type {any} */ e) => { keep = e.target.checked }}> Remember it in this browser</label>
				<p class="dim">It stays in this tab otherwise. <code>oolith token create</code> makes one.</p>`,
			run: async () => {
				setToken(text.trim(), keep)
				try {
					await identify()
				} catch (error) {
					setToken(before, false)
					if (error instanceof Problem && error.status === 401) throw new Error('The token is invalid: it is unknown, revoked or expired.')
					throw error
				}
			},
		})
	} finally {
		open = false
	}
}
