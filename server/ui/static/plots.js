// Small plots: the course of a figure over the last minutes, and what it is now.

import { html, svg } from './vendor/lit-html.js'

const width = 240, height = 48

/** @param {string} name @param {number[]} values the oldest first @param {(n: number) => string} format */
export function plot(name, values, format) {
	const now = values.at(-1) ?? 0, most = Math.max(...values, 0)
	const points = values.map((v, i) => `${(i / Math.max(1, values.length - 1) * width).toFixed(1)},${(height - 2 - (most ? v / most * (height - 6) : 0)).toFixed(1)}`)
	return html`<figure class="plot"><figcaption><span>${name}</span><strong>${format(now)}</strong></figcaption>
		<svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label=${`${name}: now ${format(now)}, at most ${format(most)}`}>
			${values.length > 1 ? svg`<polygon points="0,${height} ${points.join(' ')} ${width},${height}"/><polyline points=${points.join(' ')}/>` : ''}</svg>
		<p class="dim most">at most ${format(most)}</p></figure>`
}
