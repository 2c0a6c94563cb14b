// Dark, light, or as the system has it.

import { tell } from './state.js'

const key = 'oolith.theme'

export const theme = () => document.documentElement.dataset.theme ?? 'system'

/** Goes to the next of the three. */
export function nextTheme() {
	const next = { system: 'dark', dark: 'light', light: 'system' }[theme()] ?? 'system'
	if (next === 'system') {
		delete document.documentElement.dataset.theme
		localStorage.removeItem(key)
	} else {
		document.documentElement.dataset.theme = next
		localStorage.setItem(key, next)
	}
	tell(next === 'system' ? 'As the system has it.' : next === 'dark' ? 'Dark.' : 'Light.')
	document.querySelectorAll('oo-app').forEach(app => /** @type {any} */ (app).invalidate())
}
