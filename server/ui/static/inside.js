// Inside the server: how it is, what it does, who follows what, and tokens.

import { html, nothing } from './vendor/lit-html.js'
import { Part } from './element.js'
import { json, request, words, Problem, me } from './api.js'
import { route, go, tell } from './state.js'
import { formatRoute } from './path.js'
import { ask } from './dialog.js'
import { number, bytes, duration, latency, plural } from './text.js'
import { plot } from './plots.js'
import { tokensView } from './tokens.js'

const every = 2000

/**
 * @typedef {object} Connection
 * @property {number} id
 * @property {string} protocol
 * @property {string} [identity]
 * @property {string} remote
 * @property {string} since
 * @property {string[]} patterns
 * @property {number} unsentBytes
 * @property {number} messages
 * @property {number} catchUps
 * @property {boolean} catchesUp
 */

/** @typedef {Record<string, number>} Sample */

const protocols = /** @type {Record<string, string>} */ ({ wire: 'older protocol', clock: 'clock', 'oolith.v1': 'oolith.v1', sse: 'events' })

export class Inside extends Part {
	/** @type {any} */ about
	/** @type {Sample[]} */ samples = []
	/** @type {{total: number, connections: Connection[], store: Record<string, number>} | undefined} */ connections
	/** @type {any[] | undefined} */ tokens
	noTokens = ''
	error = ''
	/** @type {(() => void)[]} */
	ends = []

	connectedCallback() {
		super.connectedCallback()
		const timer = setInterval(() => { if (!document.hidden) this.read() }, every)
		this.ends.push(() => clearInterval(timer), route.follow(() => { this.invalidate(); this.read() }), me.follow(() => this.read()))
		this.read()
	}

	disconnectedCallback() {
		for (const end of this.ends) end()
		this.ends = []
	}

	async read() {
		const { tab } = route.value
		try {
			if (tab === 'connections') this.connections = await json('/~/connections')
			else if (tab === 'tokens') {
				try {
					this.tokens = (await json('/~/tokens')).tokens
					this.noTokens = ''
				} catch (error) {
					if (!(error instanceof Problem) || error.status !== 404) throw error
					this.noTokens = error.message
				}
			} else {
				const [about, history] = await Promise.all([json('/~/about'), json('/~/history')])
				this.about = about
				this.samples = history.samples
			}
			this.error = ''
		} catch (error) {
			const problem = error instanceof Problem ? error : undefined
			if (problem?.status === 0) return // the page says so
			this.error = problem?.status === 403 ? 'This token has no admin rights, so it cannot see the inside of the server.'
				: problem?.status === 404 ? 'The metrics are on the address of --admin-addr, not here.' : words(error)
		}
		this.invalidate()
	}

	view() {
		const { tab } = route.value
		const link = (/** @type {string} */ to, /** @type {string} */ name) => html`<a href=${formatRoute({ page: 'inside', tab: to })} aria-current=${to === tab ? 'page' : nothing}
			@click=${(/** @type {MouseEvent} */ e) => { if (e.ctrlKey || e.metaKey || e.shiftKey) return; e.preventDefault(); go({ tab: to }) }}>${name}</a>`
		return html`<div class="inside-head"><h1>Inside</h1><nav class="tabs" aria-label="Inside">${link('', 'Activity')}${link('connections', 'Connections')}${link('tokens', 'Tokens')}</nav></div>
			${this.error ? html`<p class="banner bad" role="alert">${this.error}</p>` : nothing}
			${this.error && !this.about && !this.connections && !this.tokens ? nothing : tab === 'connections' ? this.connectionsView() : tab === 'tokens' ? tokensView(this) : this.activity()}`
	}

	activity() {
		const { about, samples } = this
		if (!about) return html`<p class="quiet note">Reading…</p>`
		const latest = samples.at(-1) ?? {}
		const level = (/** @type {string} */ name) => samples.map(s => s[name])
		const rate = (/** @type {string} */ name) => samples.slice(1).map((s, i) => Math.max(0, (s[name] - samples[i][name]) / Math.max(0.1, (s.time - samples[i].time) / 1000)))
		const perSecond = (/** @type {number} */ n) => `${n < 10 ? n.toFixed(1) : number(Math.round(n))}/s`
		const span = samples.length > 1 ? (latest.time - samples[0].time) / 1000 : 0
		const layers = [about.store.inMemory ? (about.store.cached ? 'memory as a cache' : 'memory') : '', about.store.persistent ? about.store.engine || 'an engine' : ''].filter(Boolean).join(' over ')
		return html`<section class="checks" aria-label="Health">${about.checks.map((/** @type {any} */ check) => html`<p class=${check.ok ? 'check-line good' : 'check-line bad'}><span class="dot" aria-hidden="true"></span><span>${check.name}</span><span class="dim">${check.ok ? 'well' : check.detail}</span></p>`)}</section>
			<h2>The last ${span ? duration(span) : 'minutes'}</h2>
			<section class="plots" aria-label="Activity">
				${plot('Changes', rate('changes'), perSecond)}
				${plot('Requests', rate('requests'), perSecond)}
				${plot('Commit, mean', level('commitNanos'), latency)}
				${plot('Objects', level('objects'), n => number(Math.round(n)))}
				${plot('Data', level('dataBytes'), bytes)}
				${plot('Streams', level('streams'), n => number(Math.round(n)))}
				${plot('Messages to streams', rate('messages'), perSecond)}
				${plot('Lag of subscriptions', level('lag'), n => plural(Math.round(n), 'change'))}
				${plot('Resets and catch-ups', samples.map(s => s.resets + s.catchUps), n => number(Math.round(n)))}
			</section>
			<div class="two"><section><h2>Store</h2><dl class="facts-list">
				<div><dt>Where</dt><dd class="mono">${about.store.url || 'unnamed'}</dd></div><div><dt>Layers</dt><dd>${layers || 'none'}</dd></div>
				<div><dt>Identity</dt><dd class="mono">${about.store.id}</dd></div><div><dt>Objects</dt><dd>${number(latest.objects ?? 0)}, ${bytes(latest.dataBytes ?? 0)} of data</dd></div></dl></section>
			<section><h2>Server</h2><dl class="facts-list">
				<div><dt>Version</dt><dd class="mono">${about.version}</dd></div><div><dt>Runs on</dt><dd>${about.go}, ${about.platform}</dd></div>
				<div><dt>Since</dt><dd>${new Date(about.started).toLocaleString('en-GB')} (${duration((Date.now() - Date.parse(about.started)) / 1000)})</dd></div>
				<div><dt>Figures</dt><dd><a href="/~/metrics">Prometheus</a>, <a href="/~/openapi.json">OpenAPI</a></dd></div></dl></section></div>
			<details class="limits"><summary>Limits</summary><dl class="facts-list">${Object.entries(about.limits).map(([name, value]) => html`<div><dt class="mono">${name}</dt><dd>${typeof value === 'number' ? (value >= 2 ** 60 ? 'none' : number(value)) : String(value)}</dd></div>`)}</dl></details>`
	}

	connectionsView() {
		const all = this.connections
		if (!all) return html`<p class="quiet note">Reading…</p>`
		const { store } = all
		return html`<p class="note dim">In the program itself: ${plural(store.watchers, 'watch', 'watches')} (${number(store.lag)} behind), ${plural(store.subscriptions, 'subscription')} (${number(store.subscriptionLag)} behind, ${plural(store.subscriptionResets, 'reset')}).</p>
			${all.total ? html`<div class="table-box" tabindex="0" role="region" aria-label="Connections"><table>
				<thead><tr><th scope="col">Follows</th><th scope="col">Who</th><th scope="col">Over</th><th scope="col">Since</th><th scope="col" class="n">Messages</th><th scope="col" class="n">Waiting</th><th scope="col" class="n">Fell behind</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
				<tbody>${all.connections.map(c => html`<tr>
					<td class="mono">${c.patterns.length ? c.patterns.slice(0, 4).map(p => html`<span class="chip">${p}</span>`) : html`<span class="dim">nothing</span>`}${c.patterns.length > 4 ? html`<span class="dim">and ${c.patterns.length - 4} more</span>` : nothing}</td>
					<td>${c.identity ? html`<bdi>${c.identity}</bdi> ` : nothing}<span class="dim mono">${c.remote}</span></td><td>${protocols[c.protocol] ?? c.protocol}</td>
					<td>${duration((Date.now() - Date.parse(c.since)) / 1000)}</td><td class="n">${number(c.messages)}</td><td class="n">${bytes(c.unsentBytes)}</td><td class="n">${number(c.catchUps)}${c.catchesUp ? ' now' : ''}</td>
					<td><button class="quiet-danger" aria-label=${`Disconnect ${c.remote}`} @click=${() => this.disconnect(c)}>Disconnect</button></td></tr>`)}</tbody></table></div>
				${all.total > all.connections.length ? html`<p class="note dim">The oldest ${number(all.connections.length)} of ${number(all.total)}.</p>` : nothing}`
				: html`<div class="empty"><h2>Nobody follows anything</h2><p>Streams over WebSocket and server-sent events appear here.</p></div>`}`
	}

	/** @param {Connection} c */
	async disconnect(c) {
		await ask({
			title: 'Disconnect?', confirm: 'Disconnect', danger: true,
			body: () => html`<p><span class="mono">${c.remote}</span>${c.patterns.length ? html`, which follows <code>${c.patterns[0]}</code>` : nothing}. Its client comes back by itself in some seconds. To keep it out, revoke its token.</p>`,
			run: async () => {
				await request('/~/connections/' + c.id, { method: 'DELETE', accept: [404] })
				tell('The connection is closed.')
				await this.read()
			},
		})
	}
}

customElements.define('oo-inside', Inside)
