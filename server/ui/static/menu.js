// Menus that open and close, by the browser's own element for that.

/** @param {KeyboardEvent} event */
export function closeOnEscape(event) {
	const details = /** @type {HTMLDetailsElement} */ (event.currentTarget)
	if (event.key !== 'Escape' || !details.open) return
	event.stopPropagation()
	details.open = false
	details.querySelector('summary')?.focus()
}

// A menu closes when something else is used.
document.addEventListener('pointerdown', event => {
	for (const menu of document.querySelectorAll('details.menu[open]')) if (!menu.contains(/** @type {Element} */ (event.target))) /** @type {HTMLDetailsElement} */ (menu).open = false
})
document.addEventListener('focusin', event => {
	for (const menu of document.querySelectorAll('details.menu[open]')) if (!menu.contains(/** @type {Element} */ (event.target))) /** @type {HTMLDetailsElement} */ (menu).open = false
})
