// What takes long for a large object: it is read, laid out and cut into lines away from the page, which stays at hand.

import { dataOf, parse, print } from './json.js'

/** @type {string[]} */
let lines = []
let text = ''
const longest = 500

/** @param {MessageEvent} event */
onmessage = event => {
	const { id, type, ...asked } = event.data
	const answer = (/** @type {object} */ members) => postMessage({ id, ...members })
	try {
		switch (type) {
			case 'open': {
				const answer_ = new TextDecoder().decode(asked.buffer)
				const raw = dataOf(answer_)
				const head = answer_.slice(0, answer_.indexOf('"data":')) + '"data":null' + answer_.slice(answer_.indexOf('"data":') + 7 + raw.length)
				text = print(parse(raw))
				lines = text.split('\n')
				answer({ head, lines: lines.length, size: raw.length })
				break
			}
			case 'lines':
				answer({ lines: lines.slice(asked.from, asked.to).map(line => line.length > longest ? `${line.slice(0, longest)}… ${line.length - longest} more characters` : line) })
				break
			case 'text': answer({ text }); break
			case 'find': {
				const wanted = asked.text.toLowerCase()
				let at = -1
				for (let i = 0; i < lines.length && at < 0; i++) {
					const line = (asked.from + i) % lines.length
					if (lines[line].toLowerCase().includes(wanted)) at = line
				}
				answer({ at })
			}
		}
	} catch (error) {
		answer({ error: error instanceof Error ? error.message : String(error) })
	}
}
