// What all parts of the page are: an element that draws itself anew, once a frame at most, when it is told that something changed.

import { render, nothing } from './vendor/lit-html.js'

/** An element of the page. Its content is in the light DOM: one style sheet, one tree for assistive technology. */
export class Part extends HTMLElement {
	#due = false

	connectedCallback() { this.draw() }

	/** What the element shows. @returns {unknown} */
	view() { return nothing }

	/** Called behind each drawing. */
	drawn() {}

	/** Draws now. */
	draw() {
		this.#due = false
		if (!this.isConnected) return
		render(this.view(), this)
		this.drawn()
	}

	/** Draws with the next frame, or soon where the page is hidden and has none. */
	invalidate() {
		if (this.#due) return
		this.#due = true
		const draw = () => { if (this.#due) this.draw() }
		if (document.hidden) setTimeout(draw, 50)
		else requestAnimationFrame(draw)
	}
}

/** A value that parts follow. @template T */
export class Signal {
	/** @param {T} value */
	constructor(value) {
		this.value = value
		/** @type {Set<(value: T) => void>} */
		this.followers = new Set()
	}

	/** @param {T} value */
	set(value) {
		if (Object.is(value, this.value)) return
		this.value = value
		for (const follow of [...this.followers]) follow(value)
	}

	/** Calls a function with each new value, until the one that is returned is called. @param {(value: T) => void} run */
	follow(run) {
		this.followers.add(run)
		return () => { this.followers.delete(run) }
	}
}
