// What is done to many objects at once.

import { html, nothing } from './vendor/lit-html.js'
import { ask } from './dialog.js'
import { route, tell } from './state.js'
import { request, json, query, me, send } from './api.js'
import { number, plural } from './text.js'
import { check, SyntaxProblem } from './json.js'
import { store, called } from './client.js'
import { download } from './transfer.js'

/** @typedef {import('./list.js').List} List */

/** Removes objects one by one as they were seen, in batches. @param {List} list @param {string[]} paths */
async function removePaths(list, paths) {
	const most = me.value?.limits.batchChanges ?? 100
	for (let i = 0; i < paths.length; i += most) {
		await called(store.batch(paths.slice(i, i + most).map(path => ({ op: 'delete', path }))))
	}
	list.clearSelection()
	tell(`${plural(paths.length, 'object')} deleted.`)
}

/** A question whose answer is a number: who types it has read it. @param {{title: string, count: number, what: unknown, confirm: string, run: () => Promise<void>}} asked */
function askCount({ title, count, what, confirm, run }) {
	let typed = ''
	return ask({
		title, confirm, danger: true, ready: () => typed.replace(/\D/g, '') === String(count), run,
		body: redraw => html`${what}<label class="wide">Type <strong>${number(count)}</strong> to go on<input inputmode="numeric" autocomplete="off" @input=${(/** @type {any} */ e) => { typed = e.target.value; redraw() }}></label>`,
	})
}

export const operations = {
	/** Deletes what is selected. @param {List} list */
	remove(list) {
		const paths = [...list.selected]
		if (!paths.length) return
		const names = html`<ul class="names mono">${paths.slice(0, 5).map(path => html`<li>${path}</li>`)}${paths.length > 5 ? html`<li class="dim">and ${number(paths.length - 5)} more</li>` : nothing}</ul>`
		askCount({ title: `Delete ${plural(paths.length, 'object')}?`, count: paths.length, confirm: 'Delete', what: names, run: () => removePaths(list, paths) })
	},

	/** Deletes all that the list has, whether or not it is in sight. @param {List} list */
	async removeAll(list) {
		const { pattern, text, from, to } = route.value
		if (text || from || to) {
			const paths = (list.rows?.rows ?? []).map(row => row.path)
			for (const path of paths) list.selected.add(path)
			list.invalidate()
			this.remove(list)
			return
		}
		const { total } = await json('/~/rows' + query({ pattern, limit: 1 }))
		askCount({
			title: `Delete everything in ${pattern}?`, count: total, confirm: `Delete ${plural(total, 'object')}`,
			what: html`<p>All ${plural(total, 'object')} that match <code>${pattern}</code> are deleted at once, including any that are added before you confirm.</p>`,
			run: async () => {
				await called(store.del(pattern))
				list.clearSelection()
				tell(`Everything in ${pattern} is deleted.`)
			},
		})
	},

	/** Merges one change into all that is selected. @param {List} list */
	merge(list) {
		const paths = [...list.selected]
		let text = '{}'
		/** @type {SyntaxProblem | null} */
		let problem = null
		ask({
			title: `Change ${plural(paths.length, 'object')}`, confirm: 'Change', ready: () => !problem,
			body: redraw => html`<p>Each object gets these members; <code>null</code> removes one (JSON Merge Patch). Other members are kept.</p>
				<label class="wide">Members<textarea class="mono small" spellcheck="false" .value=${text} @input=${(/** @type {any} */ e) => { text = e.target.value; problem = check(text); redraw() }}></textarea></label>
				${problem ? html`<p class="bad" role="status">${problem.words}</p>` : nothing}`,
			run: async () => {
				const most = me.value?.limits.batchChanges ?? 100
				for (let i = 0; i < paths.length; i += most) {
					// The text as it is: JavaScript would round its numbers.
					const changes = paths.slice(i, i + most).map(path => `{"op":"merge","path":${JSON.stringify(path)},"ifMatch":"*","data":${text}}`)
					await send('POST', '/~/batch', `{"changes":[${changes.join(',')}]}`)
				}
				tell(`${plural(paths.length, 'object')} changed.`)
			},
		})
	},

	/** Gives all that is selected an end. @param {List} list */
	expire(list) {
		const paths = [...list.selected]
		let ttl = ''
		ask({
			title: `Set a time to live for ${plural(paths.length, 'object')}`, confirm: 'Set the time', ready: () => /^\d+(\.\d+)?[smhd]?$/.test(ttl),
			body: redraw => html`<label class="wide">Time to live from now on, such as <code>90m</code> or <code>7d</code><input autocomplete="off" @input=${(/** @type {any} */ e) => { ttl = e.target.value.trim(); redraw() }}></label>`,
			run: async () => {
				const most = me.value?.limits.batchChanges ?? 100
				for (let i = 0; i < paths.length; i += most) {
					await called(store.batch(paths.slice(i, i + most).map(path => ({ op: /** @type {const} */ ('merge'), path, data: {}, ifMatch: '*', ttl }))))
				}
				tell(`${plural(paths.length, 'object')} expire in ${ttl}.`)
			},
		})
	},

	/** @param {List} list */
	async exportSelected(list) {
		const lines = []
		for (const path of list.selected) {
			const response = await request('/' + path.split('/').map(encodeURIComponent).join('/'), { headers: { Accept: 'application/vnd.oolith+json' }, accept: [404] })
			if (response.ok) lines.push(await response.text())
		}
		download(lines, 'selection')
	},
}
