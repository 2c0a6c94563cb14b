// How numbers, times and sizes are written.

const count = new Intl.NumberFormat('en')

/** A number with separators. @param {number} n */
export const number = n => count.format(n)

/** @param {number} n @param {string} one @param {string} [many] */
export const plural = (n, one, many = one + 's') => `${number(n)} ${n === 1 ? one : many}`

/** @param {number} n */
export function bytes(n) {
	if (n < 1000) return `${n} B`
	for (const unit of ['kB', 'MB', 'GB', 'TB']) {
		n /= 1000
		if (n < 999.5 || unit === 'TB') return `${n < 9.95 ? n.toFixed(1) : Math.round(n)} ${unit}`
	}
	return ''
}

/** @param {number} n */
const two = n => String(n).padStart(2, '0')

/** A time of the store, in Unix nanoseconds, as short as it is clear: of today the time alone. @param {number} nanos */
export function time(nanos) {
	if (!nanos) return '—'
	const at = new Date(nanos / 1e6), now = new Date()
	const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
	if (at.toDateString() === now.toDateString()) return clock
	const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
	return `${day} ${clock}`
}

/** A time in full. @param {number} nanos */
export const fullTime = nanos => nanos ? new Date(nanos / 1e6).toISOString() : 'never'

/** How long, in words of one unit. @param {number} seconds */
export function duration(seconds) {
	if (seconds < 1) return `${Math.round(seconds * 1000)} ms`
	if (seconds < 90) return `${Math.round(seconds)} s`
	if (seconds < 5400) return `${Math.round(seconds / 60)} min`
	if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`
	return `${Math.round(seconds / 86400)} d`
}

/** Nanoseconds as a latency. @param {number} nanos */
export function latency(nanos) {
	if (nanos < 1e3) return `${Math.round(nanos)} ns`
	if (nanos < 1e6) return `${(nanos / 1e3).toFixed(nanos < 1e4 ? 1 : 0)} µs`
	return nanos < 1e9 ? `${(nanos / 1e6).toFixed(nanos < 1e7 ? 1 : 0)} ms` : `${(nanos / 1e9).toFixed(1)} s`
}
