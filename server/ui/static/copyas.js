// A call of the page as one that a person makes: with curl, in Go, in TypeScript.

import { html } from './vendor/lit-html.js'
import { tell } from './state.js'
import { token } from './api.js'
import { escape } from './path.js'
import { closeOnEscape } from './menu.js'

/** @typedef {{kind: 'list', pattern: string, order: string, from: string, to: string} | {kind: 'object', path: string, text: string, etag: string}} Call */

const quote = (/** @type {string} */ text) => "'" + text.replaceAll("'", "'\\''") + "'"

/** @param {Call} call */
export function curl(call) {
	const auth = token() ? ` -H "Authorization: Bearer $OOLITH_TOKEN"` : ''
	if (call.kind === 'list') {
		const query = new URLSearchParams({ limit: '100', ...(call.order === 'asc' ? { order: 'asc' } : {}), ...(call.from ? { from: call.from } : {}), ...(call.to ? { to: call.to } : {}) })
		return `curl -s${auth} ${quote(`${location.origin}/${call.pattern}?${query}`)}`
	}
	const url = quote(`${location.origin}/${escape(call.path)}`)
	if (!call.text) return `curl -s${auth} ${url}`
	const condition = call.etag ? ` -H ${quote('If-Match: ' + call.etag)}` : ` -H 'If-None-Match: *'`
	return `curl -s -X PUT${auth}${condition} -H 'Content-Type: application/json' --data-binary ${quote(call.text)} ${url}`
}

/** @param {Call} call */
export function go(call) {
	const options = token() ? 'client.Options{Token: os.Getenv("OOLITH_TOKEN")}' : 'client.Options{}'
	const head = `store, err := client.New(${JSON.stringify(location.origin)}, ${options})\nif err != nil {\n\treturn err\n}\n`
	if (call.kind === 'list') return head + `page, err := store.Page(ctx, ${JSON.stringify(call.pattern)}, storage.ListOptions{Descending: ${call.order !== 'asc'}, Limit: 100})`
	if (!call.text) return head + `object, err := store.Get(ctx, ${JSON.stringify(call.path)})`
	const revision = call.etag.match(/-(\d+)"/)?.[1]
	const text = call.text.includes('`') ? JSON.stringify(call.text) : '`' + call.text + '`'
	return head + `_, err = store.Set(ctx, ${JSON.stringify(call.path)}, []byte(${text}), storage.SetOptions{${revision ? `IfRevision: ${revision}` : 'IfAbsent: true'}})`
}

/** @param {Call} call */
export function typescript(call) {
	const options = token() ? ', { token: process.env.OOLITH_TOKEN }' : ''
	const head = `import { connect } from 'oolith'\n\nconst store = connect(${JSON.stringify(location.origin)}${options})\n`
	if (call.kind === 'list') return head + `const page = await store.page(${JSON.stringify(call.pattern)}, { order: '${call.order || 'desc'}', limit: 100 })`
	if (!call.text) return head + `const item = await store.get(${JSON.stringify(call.path)})`
	return head + `await store.set(${JSON.stringify(call.path)}, ${call.text}${call.etag ? `, { ifMatch: ${JSON.stringify(call.etag)} }` : ''})`
}

/** Puts a text where it can be pasted. @param {string} text @param {string} what */
export async function copy(text, what) {
	try {
		await navigator.clipboard.writeText(text)
	} catch {
		// A page without TLS has no clipboard of its own.
		const area = document.createElement('textarea')
		area.value = text
		document.body.append(area)
		area.select()
		document.execCommand('copy')
		area.remove()
	}
	tell(`${what} is copied.`)
}

/** @param {() => Call} call */
export function copyMenu(call) {
	const item = (/** @type {string} */ name, /** @type {(call: Call) => string} */ make) => html`<button @click=${(/** @type {any} */ e) => { e.target.closest('details').open = false; copy(make(call()), `The call as ${name}`) }}>Copy as ${name}</button>`
	return html`<details class="menu up" @keydown=${closeOnEscape}><summary>Copy as…</summary><div class="sheet">${item('curl', curl)}${item('Go', go)}${item('TypeScript', typescript)}</div></details>`
}
