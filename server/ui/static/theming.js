// Dark, light, or system theme has it.

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
	tell(next === 'system' ? 'System theme.' : next === 'dark' ? 'Dark theme.' : 'Light theme.')
	document.querySelectorAll('oo-app').forEach(app => /** @type {any} */ (app).invalidate())
}
