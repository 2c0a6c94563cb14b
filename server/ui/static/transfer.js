// Lists as files: JSON Lines of objects, as `oolith export` writes and `oolith import` reads them.

import { html, nothing } from './vendor/lit-html.js'
import { ask } from './dialog.js'
import { request, me, send, words } from './api.js'
import { tell, route } from './state.js'
import { number, plural } from './text.js'
import { check, compact, parse } from './json.js'
import { wrongWith, root } from './path.js'

/** @typedef {import('./list.js').List} List */

/** Saves lines as a file. @param {BlobPart[]} lines @param {string} name */
export function download(lines, name) {
	const url = URL.createObjectURL(new Blob(lines.map(line => line + '\n'), { type: 'application/jsonl' }))
	const link = document.createElement('a')
	link.href = url
	link.download = `${name.replace(/[^\w.-]+/g, '-').replace(/^-|-$/g, '') || 'all'}.jsonl`
	link.click()
	setTimeout(() => URL.revokeObjectURL(url), 60_000)
	tell(`${plural(lines.length, 'object')} saved as ${link.download}.`)
}

/** The objects in the text of a list, each as its text: data keeps its bytes. @param {string} text */
export function objectsIn(text) {
	const found = []
	let depth = 0, from = -1, inString = false
	for (let i = 0; i < text.length; i++) {
		const c = text.charCodeAt(i)
		if (inString) {
			if (c === 92) i++
			else if (c === 34) inString = false
		} else if (c === 34) inString = true
		else if (c === 123 || c === 91) { if (++depth === 2) from = i } else if (c === 125 || c === 93) { if (--depth === 1) found.push(text.slice(from, i + 1)) }
	}
	return found
}

/** Reads all of the list, page by page, and saves it. @param {List} list */
export async function exportList(list) {
	const asked = list.rows?.asked
	if (!asked) return
	const lines = []
	let stopped = false
	if (asked.text) { // what is found
		for (const row of list.rows?.rows ?? []) {
			const response = await request('/' + row.path.split('/').map(encodeURIComponent).join('/'), { headers: { Accept: 'application/vnd.oolith+json' }, accept: [404] })
			if (response.ok) lines.push(await response.text())
		}
		download(lines, asked.pattern)
		return
	}
	const total = list.rows?.total ?? 0
	let redraw = () => {}
	const done = ask({
		title: 'Export', confirm: undefined,
		body: draw => { redraw = draw; return html`<p role="status">${number(lines.length)} of ${number(total)} objects…</p><progress max=${Math.max(1, total)} .value=${lines.length} aria-label="Export"></progress>` },
	})
	done.then(() => { stopped = true })
	const query = new URLSearchParams({ limit: '500', order: asked.order })
	if (asked.from) query.set('from', asked.from)
	if (asked.to) query.set('to', asked.to)
	try {
		for (let target = `/${asked.pattern}?${query}`; target && !stopped;) {
			const response = await request(target, { headers: { Accept: 'application/vnd.oolith+json, application/problem+json' } })
			for (const one of objectsIn(await response.text())) lines.push(one)
			target = response.headers.get('Link')?.match(/<([^>]*)>/)?.[1] ?? ''
			redraw()
		}
		if (!stopped) download(lines, asked.pattern)
	} catch (error) {
		tell(`The export failed: ${words(error)}.`, { bad: true })
	}
	/** @type {HTMLDialogElement | null} */ (document.querySelector('dialog[open]'))?.close()
}

/** @typedef {{path: string, data: string, line: number}} Record_ */

/**
 * Reads a file: objects with path and data, or plain values, which get names of the server below a directory; one a line, or an array.
 * @param {string} text @param {string} directory where values without a path go
 * @returns {{records: Record_[], problems: string[]}}
 */
export function readRecords(text, directory) {
	/** @type {Record_[]} */
	const records = []
	/** @type {string[]} */
	const problems = []
	const whole = text.trimStart()[0] === '[' && !check(text) ? parse(text) : undefined
	const lines = whole?.kind === 'array' ? whole.items.map(compact) : text.split('\n')
	lines.forEach((line, i) => {
		if (!line.trim()) return
		const where = `${whole ? 'Value' : 'Line'} ${number(i + 1)}`
		const problem = check(line)
		if (problem) { problems.push(`${where}, column ${problem.column}: ${problem.message}`); return }
		const node = parse(line)
		const path = node.kind === 'object' ? node.members.get('path') : undefined, data = node.kind === 'object' ? node.members.get('data') : undefined
		if (path?.kind === 'scalar' && path.raw[0] === '"' && data) {
			const to = JSON.parse(path.raw), wrong = wrongWith(to, false)
			if (wrong) problems.push(`${where}: the path “${to}”: ${wrong}`)
			else records.push({ path: to, data: compact(data), line: i + 1 })
		} else records.push({ path: directory + '/*', data: compact(node), line: i + 1 })
	})
	return { records, problems }
}

/** Asks for a file and stores what it has. @param {List} list */
export function importDialog(list) {
	const directory = root(route.value.pattern) || 'imported'
	let name = '', over = false, done = 0
	/** @type {ReturnType<typeof readRecords> | undefined} */
	let read
	ask({
		title: 'Import', confirm: 'Import', ready: () => Boolean(read?.records.length && !read.problems.length),
		body: redraw => html`<p>JSON Lines, or an array. An object with <code>path</code> and <code>data</code> goes to its path, as <code>oolith export</code> writes them; any other value is pushed to <code>${directory}/*</code>.</p>
			<label class="wide">File<input type="file" accept=".json,.jsonl,.ndjson,.txt" @change=${async (/** @type {any} */ e) => {
				const file = e.target.files[0]
				if (!file) return
				name = file.name
				read = readRecords(await file.text(), directory)
				redraw()
			}}></label>
			<label class="check"><input type="checkbox" .checked=${over} @change=${(/** @type {any} */ e) => { over = e.target.checked; redraw() }}> Overwrite what is there</label>
			${read ? html`<p role="status">${name}: ${plural(read.records.length, 'object')}${read.problems.length ? html`, <span class="bad">${plural(read.problems.length, 'problem')}</span>` : nothing}.</p>
				${read.problems.length ? html`<ul class="bad names">${read.problems.slice(0, 5).map(text => html`<li>${text}</li>`)}</ul><p>Nothing is imported until the file is right.</p>` : nothing}` : nothing}
			${done ? html`<progress max=${read?.records.length ?? 1} .value=${done} aria-label="Import"></progress>` : nothing}`,
		run: async () => {
			const records = read?.records ?? [], most = Math.min(500, me.value?.limits.batchChanges ?? 100)
			/** Of one path only the last counts, and a batch names each once. @type {Map<string, Record_>} */
			const last = new Map()
			records.forEach((record, i) => last.set(record.path.endsWith('*') ? `${record.path} ${i}` : record.path, record))
			const all = [...last.values()]
			let skipped = 0
			for (let i = 0; i < all.length; i += most) {
				const store = async (/** @type {Record_[]} */ some) => {
					const changes = some.map(({ path, data }) => `{"op":${path.endsWith('*') ? '"push"' : '"set"'},"path":${JSON.stringify(path)}${over || path.endsWith('*') ? '' : ',"ifNoneMatch":"*"'},"data":${data}}`)
					await send('POST', '/~/batch', `{"changes":[${changes.join(',')}]}`)
				}
				try {
					await store(all.slice(i, i + most))
				} catch (error) {
					if (/** @type {any} */ (error).status !== 412) throw new Error(`${words(error)} (at line ${all[i].line} or after it; ${number(i - skipped)} are stored)`)
					for (const record of all.slice(i, i + most)) { // some are there: those that are not are stored
						try { await store([record]) } catch (one) { if (/** @type {any} */ (one).status !== 412) throw one; skipped++ }
					}
				}
				done = Math.min(all.length, i + most)
			}
			tell(`${plural(all.length - skipped, 'object')} imported${skipped ? `; ${plural(skipped, 'existing one')} skipped` : ''}.`)
			list.reread()
		},
	})
}
