// JSON as text. Numbers keep their digits: what JavaScript rounds would be changed by saving it. An error has its place.

/** What is wrong with a text, and where. */
export class SyntaxProblem extends Error {
	/** @param {string} text @param {number} offset @param {string} message */
	constructor(text, offset, message) {
		super(message)
		this.offset = Math.min(offset, text.length)
		const before = text.slice(0, this.offset)
		this.line = before.split('\n').length
		this.column = this.offset - before.lastIndexOf('\n')
	}

	get words() { return `Line ${this.line}, column ${this.column}: ${this.message}` }
}

/**
 * A value with its text.
 * @typedef {{kind: 'object', members: Map<string, Node>} | {kind: 'array', items: Node[]} | {kind: 'scalar', raw: string}} Node
 */

const space = /[ \t\n\r]*/y
const numberAt = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const stringAt = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y
const wordAt = /true|false|null/y
const deepest = 1000

/** Reads a text as one JSON value. @param {string} text @returns {Node} @throws {SyntaxProblem} */
export function parse(text) {
	let at = 0
	/** @param {string} message @returns {never} */
	const fail = message => { throw new SyntaxProblem(text, at, message) }
	const skip = () => { space.lastIndex = at; space.exec(text); at = space.lastIndex }
	/** @param {RegExp} pattern */
	const take = pattern => {
		pattern.lastIndex = at
		const found = pattern.exec(text)
		if (found) at = pattern.lastIndex
		return found?.[0]
	}
	const what = () => at >= text.length ? 'the text ends here' : `found ${JSON.stringify(String.fromCodePoint(/** @type {number} */ (text.codePointAt(at))))}`
	/** @returns {string} */
	const string = () => {
		const found = take(stringAt)
		if (found !== undefined) return found
		const from = at
		for (at++; at < text.length && text[at] !== '"'; at++) {
			if (text[at] < ' ') fail(text[at] === '\n' ? 'the string that begins on this line is not closed, expected "' : 'a control character in a string, expected an escape such as \\t')
			if (text[at] === '\\') {
				const escaped = text.slice(at + 1, at + 6)
				if (!/^(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/.test(escaped)) fail(`the escape \\${escaped[0] ?? ''} is unknown, expected one of \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0000`)
				if (escaped[0] !== 'u') at++
			}
		}
		at = from
		return fail('the string is not closed, expected "')
	}
	/** @param {number} depth @returns {Node} */
	const value = depth => {
		if (depth > deepest) fail(`more than ${deepest} levels`)
		skip()
		switch (text[at]) {
			case '{': return object(depth)
			case '[': return array(depth)
			case '"': return { kind: 'scalar', raw: string() }
		}
		const raw = take(wordAt) ?? take(numberAt)
		if (raw === undefined) return fail(`${what()}, expected a value: an object, an array, a string in ", a number, true, false or null`)
		if (/[\w.]/.test(text[at] ?? ' ')) fail(`${what()} after ${raw}, which is not a number or a JSON word`)
		return { kind: 'scalar', raw }
	}
	/** @param {number} depth @returns {Node} */
	const object = depth => {
		/** @type {Map<string, Node>} */
		const members = new Map()
		at++
		skip()
		if (text[at] === '}') { at++; return { kind: 'object', members } }
		for (;;) {
			skip()
			if (text[at] !== '"') fail(text[at] === '}' ? 'a comma before }, expected a member after it' : `${what()}, expected a member: its name in "`)
			const from = at
			const raw = string(), name = /** @type {string} */ (JSON.parse(raw))
			if (members.has(name)) { at = from; fail(`the member ${raw} occurs twice`) }
			skip()
			if (text[at] !== ':') fail(`${what()}, expected : after the name ${raw}`)
			at++
			members.set(name, value(depth + 1))
			skip()
			if (text[at] === '}') { at++; return { kind: 'object', members } }
			if (text[at] !== ',') fail(`${what()}, expected , or }`)
			at++
		}
	}
	/** @param {number} depth @returns {Node} */
	const array = depth => {
		/** @type {Node[]} */
		const items = []
		at++
		skip()
		if (text[at] === ']') { at++; return { kind: 'array', items } }
		for (;;) {
			skip()
			if (text[at] === ']') fail('a comma before ], expected a value after it')
			items.push(value(depth + 1))
			skip()
			if (text[at] === ']') { at++; return { kind: 'array', items } }
			if (text[at] !== ',') fail(`${what()}, expected , or ]`)
			at++
		}
	}
	const node = value(1)
	skip()
	if (at < text.length) fail(`${what()} after the value, expected the end`)
	return node
}

/** What is wrong with a text; null for nothing. @param {string} text */
export function check(text) {
	try {
		parse(text)
		return null
	} catch (error) {
		if (error instanceof SyntaxProblem) return error
		throw error
	}
}

/** Writes a value, indented. @param {Node} node @param {string} [indent] */
export function print(node, indent = '') {
	/** @type {string[]} */
	const out = []
	write(node, indent, out)
	return out.join('')
}

/** @param {Node} node @param {string} indent @param {string[]} out */
function write(node, indent, out) {
	if (node.kind === 'scalar') { out.push(node.raw); return }
	const inner = indent + '  '
	const object = node.kind === 'object'
	const size = object ? node.members.size : node.items.length
	if (size === 0) { out.push(object ? '{}' : '[]'); return }
	out.push(object ? '{' : '[')
	let first = true
	/** @param {Node} child @param {string} head */
	const one = (child, head) => {
		out.push(first ? '\n' : ',\n', inner, head)
		first = false
		write(child, inner, out)
	}
	if (object) for (const [name, child] of node.members) one(child, JSON.stringify(name) + ': ')
	else for (const child of node.items) one(child, '')
	out.push('\n', indent, object ? '}' : ']')
}

/** Writes a value on one line. @param {Node} node @returns {string} */
export function compact(node) {
	if (node.kind === 'scalar') return node.raw
	if (node.kind === 'array') return '[' + node.items.map(compact).join(',') + ']'
	return '{' + [...node.members].map(([name, child]) => JSON.stringify(name) + ':' + compact(child)).join(',') + '}'
}

/** Whether two values are the same: members in any order. @param {Node | undefined} a @param {Node | undefined} b @returns {boolean} */
export function same(a, b) {
	if (!a || !b) return a === b
	if (a.kind === 'scalar') return b.kind === 'scalar' && (a.raw === b.raw || a.raw[0] === '"' && b.raw[0] === '"' && JSON.parse(a.raw) === JSON.parse(b.raw))
	if (a.kind === 'array') return b.kind === 'array' && a.items.length === b.items.length && a.items.every((item, i) => same(item, b.items[i]))
	if (b.kind !== 'object' || a.members.size !== b.members.size) return false
	for (const [name, child] of a.members) if (!b.members.has(name) || !same(child, b.members.get(name))) return false
	return true
}

/** The data in the text of an answer: its bytes, which a JSON reader would change. @param {string} answer that has revision behind data */
export function dataOf(answer) {
	const from = answer.indexOf('"data":') + 7
	const end = answer.slice(-80).match(/,"revision":\d+(?:,"expires":-?\d+)?\}\s*$/)
	if (from < 7 || !end) throw new Error('the answer of the server is not an object')
	return answer.slice(from, answer.length - end[0].length)
}
