// Tokens: those there are, a new one, the end of one.

import { html, nothing } from './vendor/lit-html.js'
import { ask } from './dialog.js'
import { json, request, me, send } from './api.js'
import { tell } from './state.js'
import { copy } from './copyas.js'

/** @typedef {{id: string, name: string, scopes: {pattern: string, verbs: string[]}[], created: string, expires?: string}} Token */

/** @param {import('./inside.js').Inside} inside */
export function tokensView(inside) {
	if (inside.noTokens) return html`<div class="empty"><h2>No tokens</h2><p>Everybody who reaches this server may do everything. <code>oolith serve --auth</code> asks for a token.</p></div>`
	if (!inside.tokens) return html`<p class="quiet note">Reading…</p>`
	const day = (/** @type {string | undefined} */ text) => text ? new Date(text).toISOString().slice(0, 10) : 'never'
	return html`<p class="note"><button class="primary" @click=${() => make(inside)}>New token</button></p>
		<div class="table-box" tabindex="0" role="region" aria-label="Tokens"><table>
		<thead><tr><th scope="col">Name</th><th scope="col">Allows</th><th scope="col">Made</th><th scope="col">Ends</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
		<tbody>${inside.tokens.map((/** @type {Token} */ t) => html`<tr><td><bdi>${t.name || 'unnamed'}</bdi> <span class="dim mono">${t.id}</span>${t.id === me.value?.token?.id ? html` <span class="chip">yours</span>` : nothing}</td>
			<td class="mono">${t.scopes.map(s => html`<span class="chip">${s.verbs.join(',')}:${s.pattern}</span>`)}</td>
			<td>${day(t.created)}</td><td>${t.expires && Date.parse(t.expires) < Date.now() ? html`<span class="bad">ended ${day(t.expires)}</span>` : day(t.expires)}</td>
			<td><button class="quiet-danger" aria-label=${`Revoke ${t.name || t.id}`} @click=${() => revoke(inside, t)}>Revoke</button></td></tr>`)}</tbody></table></div>`
}

/** @param {import('./inside.js').Inside} inside */
async function make(inside) {
	let name = '', scopes = 'read:**', ttl = '', text = ''
	const made = await ask({
		title: 'New token', confirm: 'Create', ready: () => scopes.trim() !== '',
		body: () => html`<label class="wide">Name<input autocomplete="off" .value=${name} placeholder="dashboard" @input=${(/** @type {any} */ e) => { name = e.target.value }}></label>
			<label class="wide">Scopes, one a line: verbs and a pattern<textarea class="mono small" spellcheck="false" .value=${scopes} @input=${(/** @type {any} */ e) => { scopes = e.target.value }}></textarea></label>
			<p class="dim">Such as <code>read,write:devices/**</code>. Verbs are read, write and admin. It allows no more than your own token does.</p>
			<label class="wide">Ends after (empty: never)<input autocomplete="off" .value=${ttl} placeholder="90d" @input=${(/** @type {any} */ e) => { ttl = e.target.value }}></label>`,
		run: async () => {
			const response = await send('POST', '/~/tokens', { name, scopes: scopes.split('\n').map(s => s.trim()).filter(Boolean), ttl: ttl.trim() })
			text = (await response.json()).text
		},
	})
	if (!made) return
	inside.read()
	await ask({
		title: 'The new token', cancel: 'Close', kind: 'wide',
		body: () => html`<p>This is shown only now. The server keeps its hash alone.</p><p class="secret mono">${text}</p><p><button type="button" class="primary" @click=${() => copy(text, 'The token')}>Copy</button></p>`,
	})
}

/** @param {import('./inside.js').Inside} inside @param {Token} token */
function revoke(inside, token) {
	const own = token.id === me.value?.token?.id
	ask({
		title: 'Revoke this token?', confirm: 'Revoke', danger: true,
		body: () => html`<p><bdi>${token.name || 'unnamed'}</bdi> <span class="mono dim">${token.id}</span> allows nothing any more, at once, and its streams end.${own ? ' It is the one that you use: you have to give another one then.' : ''}</p>`,
		run: async () => {
			await request('/~/tokens/' + token.id, { method: 'DELETE' })
			tell('The token is revoked.')
			if (!own) await inside.read()
			else json('/~/whoami').catch(() => {})
		},
	})
}
