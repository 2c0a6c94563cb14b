// The page: a head, and what the address says below it.

import { html, nothing, render } from './vendor/lit-html.js'
import { Part } from './element.js'
import { route, go, messages, dismiss } from './state.js'
import { staleSince, me, loginNeeded, identify, words } from './api.js'
import { restart } from './watch.js'
import { palette, help } from './keys.js'
import { theme, nextTheme } from './theming.js'
import { formatRoute } from './path.js'
import './tree.js'
import './list.js'

const wide = matchMedia('(min-width: 1100px)')

class App extends Part {
	error = ''
	ready = false

	connectedCallback() {
		super.connectedCallback()
		for (const signal of [route, staleSince, me]) signal.follow(() => this.invalidate())
		route.follow(() => this.classList.remove('tree-open'))
		wide.addEventListener('change', () => this.invalidate())
		loginNeeded.follow(why => { if (why) import('./login.js').then(module => module.login(why)) })
		staleSince.follow(since => { if (!since && !me.value) this.begin() })
		setInterval(() => { if (staleSince.value) this.invalidate() }, 1000)
		this.begin()
	}

	async begin() {
		try {
			await identify()
			this.error = ''
		} catch (error) {
			this.error = words(error)
			if (!me.value) setTimeout(() => { if (!me.value && !loginNeeded.value) this.begin() }, 2000)
		}
		this.ready = true
		this.invalidate()
	}

	view() {
		const { page, object, make } = route.value
		if (page === 'inside') import('./inside.js')
		else if (object || make) import('./object.js')
		const link = (/** @type {Partial<import('./path.js').Route>} */ to, /** @type {string} */ name, /** @type {boolean} */ here) => html`<a href=${formatRoute(to)} aria-current=${here ? 'page' : nothing}
			@click=${(/** @type {MouseEvent} */ e) => { if (e.ctrlKey || e.metaKey || e.shiftKey) return; e.preventDefault(); go(to) }}>${name}</a>`
		document.title = page === 'inside' ? 'Inside · Oolith' : `${object || route.value.pattern || 'Explorer'} · Oolith`
		return html`
			<a class="skip" href="#main" @click=${(/** @type {Event} */ e) => { e.preventDefault(); /** @type {HTMLElement} */ (this.querySelector('#main')).focus() }}>To the content</a>
			<header class="top">
				${page === 'data' ? html`<button class="icon only-narrow" aria-label="Directories" aria-expanded=${String(this.classList.contains('tree-open'))} @click=${() => { this.classList.toggle('tree-open'); this.invalidate() }}>☰</button>` : nothing}
				<a class="brand" href="/~/ui/" aria-label="Oolith, the start" @click=${(/** @type {MouseEvent} */ e) => { e.preventDefault(); go({}, { fresh: true }) }}><span class="mark" aria-hidden="true"></span><span>Oolith</span></a>
				<nav aria-label="Pages">${link({ page: 'data' }, 'Data', page === 'data')}${link({ page: 'inside', tab: '' }, 'Inside', page === 'inside')}</nav>
				<button class="find" @click=${() => palette()}><span>Find a command or a path</span><span class="keys"><kbd>Ctrl</kbd><kbd>K</kbd></span></button>
				${this.status()}
				<button class="icon" aria-label="Theme: ${theme()}" title="Theme: ${theme()} (D)" @click=${nextTheme}>◐</button>
				<button class="icon wide-only" aria-label="Keys" title="Keys (?)" @click=${help}>?</button>
			</header>
			${this.banner()}
			<main id="main" tabindex="-1" class=${page === 'data' ? `data ${object || make ? 'with-object' : ''}` : 'inside'}>${page === 'inside'
				? html`<oo-inside></oo-inside>`
				: html`<h1 class="hidden">${object || route.value.pattern || 'Explorer'}</h1><aside class="side" aria-label="Directories"><oo-tree></oo-tree></aside><div class="shade" @click=${() => { this.classList.remove('tree-open'); this.invalidate() }}></div>
					<div class="center"><oo-list></oo-list></div><oo-object></oo-object>`}</main>`
	}

	status() {
		const since = staleSince.value
		if (since) return html`<span class="state stale" role="status"><span class="dot"></span>Stale</span>`
		const who = me.value
		return html`<span class="state" role="status" title=${who?.token ? `Token ${who.token.name}: ${who.token.scopes.map(s => s.verbs.join(',') + ':' + s.pattern).join(' ')}` : who ? 'The server asks for no token' : ''}><span class="dot"></span>${who ? who.token?.name || 'Live' : 'Connecting'}</span>`
	}

	banner() {
		const since = staleSince.value
		if (!since) return this.error && !me.value && !loginNeeded.value ? html`<p class="banner bad page" role="alert">${this.error}</p>` : nothing
		const clock = new Date(since).toTimeString().slice(0, 8), seconds = Math.round((Date.now() - since) / 1000)
		return html`<p class="banner warn page" role="alert"><span>Stale since ${clock}: the server does not answer.</span> <span aria-live="off" class="dim">${seconds} s</span> <button @click=${() => { restart(); this.begin() }}>Try now</button></p>`
	}
}

customElements.define('oo-app', App)

// Messages are above everything, dialogs included.
const box = document.createElement('div')
box.className = 'messages'
box.setAttribute('role', 'status')
box.setAttribute('popover', 'manual')
document.body.append(box)
messages.follow(all => {
	render(all.map(message => html`<p class=${message.bad ? 'message bad' : 'message'}><span>${message.text}</span>
		${message.action ? html`<button @click=${() => { message.action?.run(); dismiss(message.id) }}>${message.action.name}</button>` : nothing}
		<button class="icon" aria-label="Dismiss" @click=${() => dismiss(message.id)}>✕</button></p>`), box)
	if (all.length && !box.matches(':popover-open')) box.showPopover()
	else if (!all.length && box.matches(':popover-open')) box.hidePopover()
})
