// Paths and patterns, as the store has them, and the addresses of the views.

/** What is wrong with a path or pattern, or '' for nothing. @param {string} path @param {boolean} [glob] */
export function wrongWith(path, glob = true) {
	if (path === '') return 'it is empty, expected a path such as cities/lisbon'
	if (new TextEncoder().encode(path).length > 1024) return 'it is longer than 1,024 bytes'
	const segments = path.split('/')
	for (const [i, segment] of segments.entries()) {
		if (segment === '') return i === 0 ? 'it begins with a slash' : i === segments.length - 1 ? 'it ends with a slash' : 'it has two slashes in a row'
		if (segment === '.' || segment === '..') return `the segment "${segment}" is not allowed`
		const bad = segment.match(/[^A-Za-z0-9\-_.*]/u)
		if (bad) return `it has the character "${bad[0]}", expected letters A to Z, digits, - _ . and *`
		if (segment.includes('*') && !glob) return 'it is a pattern, expected the path of one object'
		if (segment.includes('**') && (segment !== '**' || i !== segments.length - 1)) return '** is allowed only as the whole last segment'
	}
	return ''
}

/** @param {string} path */
export const isGlob = path => path.includes('*')

/** The directory of a path; '' for the top. @param {string} path */
export const parent = path => path.slice(0, Math.max(0, path.lastIndexOf('/')))

/** @param {string} path */
export const base = path => path.slice(path.lastIndexOf('/') + 1)

/** The pattern of what is directly in a directory. @param {string} directory */
export const listOf = directory => directory ? directory + '/*' : '*'

/** The part of a pattern without a star: where all that it matches is. @param {string} pattern */
export function root(pattern) {
	const before = pattern.slice(0, pattern.includes('*') ? pattern.indexOf('*') : pattern.length)
	return before.slice(0, Math.max(0, before.lastIndexOf('/')))
}

/** A path in an address. @param {string} path */
export const escape = path => path.split('/').map(encodeURIComponent).join('/')

/**
 * A view: what the address of the page says.
 * @typedef {object} Route
 * @property {'data' | 'inside'} page
 * @property {string} pattern of the list
 * @property {string} object its path; '' for none
 * @property {'' | 'new' | 'push'} make what is being made, at object
 * @property {string} text
 * @property {string} from
 * @property {string} to
 * @property {'desc' | 'asc'} order
 * @property {string} columns names of members, separated by commas; '' for those that are found
 * @property {number} at the first row that is shown
 * @property {string} tab of inside
 */

const prefix = '/~/ui/'

/** @param {string} address path and query of the page @returns {Route} */
export function parseRoute(address) {
	const url = new URL(address, 'http://x')
	/** @type {Route} */
	const route = { page: 'data', pattern: '', object: '', make: '', text: '', from: '', to: '', order: 'desc', columns: '', at: 0, tab: '' }
	let rest = url.pathname.startsWith(prefix) ? url.pathname.slice(prefix.length) : ''
	try {
		rest = rest.split('/').map(decodeURIComponent).join('/')
	} catch { /* an escape that is none is shown as it is, and found to be no path */ }
	const [page, ...more] = rest.split('/')
	if (page === 'inside') return { ...route, page, tab: more[0] ?? '' }
	const query = url.searchParams
	if (page === 'object') {
		route.object = more.join('/')
		route.pattern = listOf(parent(route.object))
	} else if (page === 'list') route.pattern = more.join('/')
	else route.pattern = rest
	if (query.has('object')) route.object = query.get('object') ?? ''
	const make = query.get('make')
	if (make === 'new' || make === 'push') route.make = make
	route.text = query.get('text') ?? ''
	route.from = query.get('from') ?? ''
	route.to = query.get('to') ?? ''
	route.columns = query.get('columns') ?? ''
	if (query.get('order') === 'asc') route.order = 'asc'
	route.at = Math.max(0, Math.floor(Number(query.get('at')) || 0))
	return route
}

/** The address of a view. @param {Partial<Route>} route */
export function formatRoute(route) {
	if (route.page === 'inside') return prefix + 'inside' + (route.tab ? '/' + route.tab : '')
	const query = new URLSearchParams()
	for (const name of /** @type {const} */ (['object', 'make', 'text', 'from', 'to', 'columns'])) if (route[name]) query.set(name, String(route[name]))
	if (route.order === 'asc') query.set('order', 'asc')
	if (route.at) query.set('at', String(route.at))
	let text = String(query).replaceAll('%2F', '/').replaceAll('%2C', ',').replaceAll('%3A', ':')
	return prefix + (route.pattern ? 'list/' + escape(route.pattern).replaceAll('%2A', '*') : '') + (text && '?' + text)
}
