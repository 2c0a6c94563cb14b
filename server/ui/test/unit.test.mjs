// What needs no browser: JSON as text, differences and merges, paths and addresses, files that are read.

import { test } from 'node:test'
import assert from 'node:assert/strict'

const at = name => import(`../static/${name}.js`)
const { parse, print, compact, check, same, dataOf } = await at('json')
const { diff, merge } = await at('merge')
const { wrongWith, parseRoute, formatRoute, root } = await at('path')

test('JSON is read as JSON.parse reads it, and printed with its digits', () => {
	for (const text of ['null', '{"a":[1,{"b":null},"x\\u00e9\\n"],"":{}}', ' [ ] ', '-0.0e-7', '12345678901234567890', '"\\ud800"', '{"__proto__":1,"constructor":2}']) {
		const node = parse(text)
		assert.deepEqual(JSON.parse(print(node)), JSON.parse(text))
		assert.deepEqual(JSON.parse(compact(node)), JSON.parse(text))
	}
	assert.equal(compact(parse('[1.0, 1e2, 12345678901234567890]')), '[1.0,1e2,12345678901234567890]')
	assert.equal(print(parse('{"a":1,"b":[]}')), JSON.stringify({ a: 1, b: [] }, null, 2))
})

test('whatever JSON.parse refuses has an error with its place', () => {
	for (const [text, line, column] of [['', 1, 1], ['{', 1, 2], ['{"a":1,}', 1, 8], ['[1,]', 1, 4], ['[1 2]', 1, 4], ['{"a" 1}', 1, 6], ['"a', 1, 1], ['"a\nb"', 1, 3], ['"\\x"', 1, 2], ['01', 1, 2], ['tru', 1, 1], ['nul', 1, 1], ['1 2', 1, 3],
		['{\n "a": 1,\n "a": 2}', 3, 2], ['[1,\n  .5]', 2, 3], ['-', 1, 1], ['NaN', 1, 1], ["{'a':1}", 1, 2]]) {
		const problem = check(text)
		assert.ok(problem, text)
		assert.deepEqual([problem.line, problem.column], [line, column], `${text}: ${problem.words}`)
	}
	assert.ok(check('['.repeat(2000) + ']'.repeat(2000)).words.includes('levels'))
	// Cut anywhere, a text is refused or is a value.
	const text = '{"a":[1.5e3,true,null,"x\\u0041\\""],"b":{"c":-1}}'
	for (let i = 0; i < text.length; i++) {
		let valid = true
		try { JSON.parse(text.slice(0, i)) } catch { valid = false }
		assert.equal(check(text.slice(0, i)) === null, valid, text.slice(0, i))
	}
})

test('a difference leads from one text to the other, by the fewest lines', () => {
	let seed = 7
	const random = n => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed % n }
	for (let round = 0; round < 300; round++) {
		const a = Array.from({ length: random(12) }, () => 'abc'[random(3)]), b = Array.from({ length: random(12) }, () => 'abc'[random(3)])
		const lines = diff(a.join('\n'), b.join('\n'))
		assert.equal(lines.filter(l => l.sign !== '+').map(l => l.text).join('\n'), a.join('\n'))
		assert.equal(lines.filter(l => l.sign !== '-').map(l => l.text).join('\n'), b.join('\n'))
		// The longest that both have, by its plain definition.
		const left = a.length ? a : [''], right = b.length ? b : ['']
		const longest = Array.from({ length: left.length + 1 }, () => Array(right.length + 1).fill(0))
		left.forEach((x, i) => right.forEach((y, j) => { longest[i + 1][j + 1] = x === y ? longest[i][j] + 1 : Math.max(longest[i][j + 1], longest[i + 1][j]) }))
		assert.equal(lines.filter(l => l.sign === ' ').length, longest[left.length][right.length], JSON.stringify([a, b]))
	}
})

test('two changes are brought together, and asked about where both changed the same', () => {
	const merged = (base, mine, theirs, choice = true) => {
		const asked = []
		const result = merge(parse(base), parse(mine), parse(theirs), conflict => { asked.push(conflict.path.join('/')); return choice })
		return [result && compact(result), asked]
	}
	assert.deepEqual(merged('{"a":1,"b":1}', '{"a":2,"b":1}', '{"a":1,"b":3}'), ['{"a":2,"b":3}', []])
	assert.deepEqual(merged('{"a":1}', '{"a":2}', '{"a":3}'), ['{"a":2}', ['a']])
	assert.deepEqual(merged('{"a":1}', '{"a":2}', '{"a":3}', false), ['{"a":3}', ['a']])
	assert.deepEqual(merged('{"a":1,"b":1}', '{"b":1}', '{"a":1,"b":2}'), ['{"b":2}', []])
	assert.deepEqual(merged('{"a":1}', '{}', '{"a":2}', false), ['{"a":2}', ['a']])
	assert.deepEqual(merged('{"a":{"x":1}}', '{"a":{"x":1,"y":1}}', '{"a":{"x":1,"z":1}}'), ['{"a":{"x":1,"z":1,"y":1}}', []])
	assert.deepEqual(merged('[1]', '[1,2]', '[0,1]'), ['[1,2]', ['']])
	assert.deepEqual(merged('1', '2', '2'), ['2', []])
	assert.ok(same(parse('{"a":1,"b":"\\u0041"}'), parse('{"b":"A","a":1}')))
	assert.ok(!same(parse('1'), parse('1.0')))
})

test('paths and addresses', () => {
	for (const path of ['a', 'a/b-_.c/*', '**', 'a/**', 'x*y/*']) assert.equal(wrongWith(path), '', path)
	for (const path of ['', '/a', 'a/', 'a//b', 'a/../b', '.', 'a b', 'é', '**/a', 'a/b**', 'a'.repeat(1025)]) assert.notEqual(wrongWith(path), '', path)
	assert.deepEqual(['*', 'a/*', 'a/b*/c', '**', 'a/**', 'a'].map(root), ['', 'a', 'a', '', 'a', ''])
	for (const route of [
		{ page: 'data', pattern: 'a/*', object: 'a/b', text: 'x&y=%', from: '5m', order: 'asc', columns: 'a,b', at: 7 }, { page: 'data', pattern: '**' }, { page: 'inside', tab: 'tokens' }, { page: 'data', pattern: '', object: 'x/', make: 'new' },
	]) {
		const read = parseRoute(formatRoute(route))
		for (const [name, value] of Object.entries(route)) assert.equal(read[name], value, `${name} of ${formatRoute(route)}`)
	}
	assert.equal(parseRoute('/').pattern, '')
	assert.equal(parseRoute('/~/ui/object/a/b').pattern, 'a/*')
})

test('the data of an answer keeps its bytes', () => {
	const data = '{"revision":1,"expires":2,"data": [1.0,"\\"data\\":"]}'
	assert.equal(dataOf(`{"created":1,"updated":0,"index":"a","path":"a","data":${data},"revision":7}`), data)
	assert.equal(dataOf(`{"created":1,"updated":0,"index":"a","path":"a","data":${data},"revision":7,"expires":99}\n`), data)
})
