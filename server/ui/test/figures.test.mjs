// Sizes, numbers of nodes, and times; the views at two widths, light and dark; the pictures of the documentation. Times are told, and
// held only to bounds that a busy machine keeps.

import { test, before, after, describe } from 'node:test'
import { gzipSync } from 'node:zlib'
import { mkdir } from 'node:fs/promises'
import { Server, million, open, accessible, until, nodes, names, closeBrowser, assert, skip, text, root, join, scratch } from './harness.mjs'

const mostNodes = 2000

describe('figures', { skip }, () => {
	let server
	before(async () => { server = await new Server({ store: 'memory:' }).start() })
	after(async () => { await server.kill(); await closeBrowser() })

	test('the first load has at most 60 kB', async t => {
		// What came over the network: bodies as they were sent.
		const sent = page => page.evaluate(() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
			.filter(e => !/\/~\/(?!ui)/.test(e.name) && e.transferSize > 0).map(e => [new URL(e.name).pathname, e.encodedBodySize]))
		const sum = files => files.reduce((all, [, size]) => all + size, 0)
		const page = await open(server.url + '/')
		await page.waitForSelector('oo-list .empty')
		const first = await sent(page)
		t.diagnostic(`first load: ${sum(first)} bytes in ${first.length} files`)
		assert.ok(first.length > 10 && sum(first) > 20_000 && sum(first) <= 60_000, `${sum(first)} bytes in ${first}`)
		await page.goto(server.url + '/~/ui/list/a/*')
		await page.waitForSelector('oo-list .empty')
		const second = await sent(page)
		assert.ok(sum(second) < 1500, `the second load has ${sum(second)} bytes in ${second}`)
		await page.finish()
	})

	test('a million rows and 300,000 directories scroll like a thousand', { timeout: 300_000 }, async t => {
		const server = await million()
		t.after(() => server.kill())
		const page = await open(server.url + '/~/ui/list/million/*', { init: () => {
			// When an answer of rows is there, and when rows are drawn.
			const ask = globalThis.fetch
			globalThis.fetch = async (...args) => { const answer = await ask(...args); if (String(args[0]).startsWith('/~/rows')) globalThis.answered ??= performance.now(); return answer }
			new MutationObserver(() => { if (!globalThis.drawn && document.querySelector('oo-list .rows .row .cell')) requestAnimationFrame(() => { globalThis.drawn ??= performance.now() }) }).observe(document, { childList: true, subtree: true })
		} })
		await until(page, () => globalThis.drawn)
		const first = await page.evaluate(() => globalThis.drawn - globalThis.answered)
		t.diagnostic(`first rows of a million: ${first.toFixed(1)} ms behind the answer`)
		assert.ok(first < 3000)
		assert.match(await text(page, '.foot .total'), /1,000,000 objects/)
		const jumps = []
		for (const rank of [500_000, 1_000_000, 7, 750_123]) {
			jumps.push(await page.evaluate(async rank => {
				const list = document.querySelector('oo-list'), from = performance.now()
				list.jump(rank)
				while (!document.querySelector(`oo-list .row[aria-rowindex="${rank + 1}"] .cell`)) await new Promise(done => requestAnimationFrame(done))
				return performance.now() - from
			}, rank))
			const at = await page.getAttribute(`oo-list .row[aria-rowindex="${rank + 1}"] .name`, 'title')
			assert.ok(Number(at.split('/')[1]) === 1_000_000 - rank, `row ${rank} is ${at}`)
		}
		t.diagnostic(`jumps, the request included: ${jumps.map(ms => ms.toFixed(0)).join(', ')} ms`)
		await page.focus('.grid')
		await page.keyboard.press('End')
		await until(page, () => document.querySelector('oo-list .row.active')?.getAttribute('aria-rowindex') === '1000001')
		await page.keyboard.press('Home')
		await until(page, () => document.querySelector('oo-list .row.active')?.getAttribute('aria-rowindex') === '2')
		await page.evaluate(() => { document.querySelector('oo-list .rows').scrollTop = 3_000_000 })
		await until(page, () => { const rank = Number(document.querySelector('oo-list .rows .row')?.getAttribute('aria-rowindex')); return rank > 400_000 && rank < 600_000 && document.querySelector('oo-list .rows .row .cell') })
		// A small step is as small as in a short list.
		const seen = () => page.evaluate(() => document.querySelector('oo-list').list.firstWhole)
		const before = await seen()
		await page.mouse.move(700, 500)
		await page.mouse.wheel(0, 340)
		await page.waitForTimeout(400)
		assert.ok(Math.abs(await seen() - before - 10) <= 2, `a step of ten rows led from ${before} to ${await seen()}`)
		assert.ok(await nodes(page) <= mostNodes, `${await nodes(page)} nodes`)
		// The tree.
		await until(page, () => document.querySelector('.tree-find input')?.placeholder.includes('300,001'))
		await page.fill('.tree-find input', 'd2345')
		await until(page, () => document.querySelector('oo-tree .row.active .name')?.textContent === 'd234500')
		await page.evaluate(() => { document.querySelector('oo-tree .rows').scrollTop = 1e9 })
		await until(page, () => [...document.querySelectorAll('oo-tree .row .name')].some(e => e.textContent === 'million'))
		t.diagnostic(`${await nodes(page)} nodes`)
		assert.ok(await nodes(page) <= mostNodes)
		await page.finish()
	})

	test('1,000 changes a second leave the frames as they are', { timeout: 120_000 }, async t => {
		await server.fill(1000, i => ['busy/' + i, `{"n":0}`])
		const page = await open(server.url + '/~/ui/list/busy/*')
		await until(page, () => document.querySelectorAll('oo-list .rows .row .cell').length > 10)
		let going = true, sent = 0
		const from = Date.now()
		const writer = (async () => {
			while (going) {
				const due = (Date.now() - from) - sent
				if (due < 50) { await new Promise(done => setTimeout(done, 20)); continue }
				let body = ''
				for (let i = 0; i < 50; i++) body += `${i ? ',' : ''}{"op":"set","path":"busy/${950 + (sent + i) % 50}","data":{"n":${sent + i}}}`
				await (await server.request('POST', '~/batch', `{"changes":[${body}]}`)).arrayBuffer()
				sent += 50
			}
		})()
		const frames = await page.evaluate(() => new Promise(done => {
			const times = []
			const frame = now => { times.push(now); if (now - times[0] < 3000) requestAnimationFrame(frame); else done(times) }
			requestAnimationFrame(frame)
		}))
		going = false
		await writer
		const gaps = frames.slice(1).map((at, i) => at - frames[i]).sort((a, b) => a - b)
		t.diagnostic(`${Math.round(sent / ((Date.now() - from) / 1000))} changes a second: ${(frames.length / 3).toFixed(1)} frames a second, 99 of 100 within ${gaps[Math.floor(gaps.length * 0.99)].toFixed(1)} ms`)
		assert.ok(sent > 500 && frames.length > 20)
		await until(page, last => [...document.querySelectorAll('oo-list .row .cell')].some(e => e.textContent === String(last)), sent - 1)
		await page.finish()
	})

	test('an object of 3 MB opens without stopping the page', async t => {
		await server.put('big/one', JSON.stringify({ items: Array.from({ length: 34_000 }, (_, i) => ({ id: i, name: `item number ${i}`, note: 'a text that makes it longer than it was' })) }))
		const page = await open(server.url + '/~/ui/list/big/*')
		await until(page, () => document.querySelectorAll('oo-list .rows .row .cell').length === 1)
		await page.evaluate(() => { globalThis.blocked = []; new PerformanceObserver(list => { for (const entry of list.getEntries()) globalThis.blocked.push(entry.duration) }).observe({ type: 'longtask' }) })
		await page.click('oo-list .rows .row')
		await until(page, () => document.querySelector('oo-large .line')?.textContent === '{')
		const most = await page.evaluate(() => Math.max(0, ...globalThis.blocked))
		t.diagnostic(`3 MB: the longest task of the page took ${most ? most.toFixed(0) : 'less than 50'} ms; ${await nodes(page)} nodes`)
		assert.ok(most < 2000)
		assert.ok(await nodes(page) <= mostNodes)
		await page.fill('oo-large input', 'item number 33999')
		await page.keyboard.press('Enter')
		await until(page, () => document.querySelector('oo-large .line.found')?.textContent.includes('33999'))
		await page.click('oo-large button:has-text("Edit")')
		await until(page, () => document.querySelector('oo-object textarea')?.value.length > 3_000_000)
		await page.finish()
	})

	test('ten thousand directories below one', async () => {
		await server.fill(10_000, i => [`wide/n${String(i).padStart(5, '0')}/x`, '1'])
		const page = await open(server.url + '/~/ui/list/wide/n09990/*')
		await until(page, () => document.querySelector('oo-tree .row[aria-selected=true] .name')?.textContent === 'n09990')
		assert.deepEqual(await names(page), ['wide/n09990/x'])
		assert.ok(await nodes(page) <= mostNodes)
		await page.finish()
	})
})

describe('looks', { skip }, () => {
	let server
	before(async () => { server = await new Server({ store: 'pebble:oolith-data', flags: ['--demo'] }).start() })
	after(async () => { await server.kill(); await closeBrowser() })

	test('every view at 360 and 1440 pixels, light and dark, is accessible; pictures', { timeout: 300_000 }, async () => {
		const places = [['lisbon', 'Lisbon', 'PT', 545_796, 57], ['porto', 'Porto', 'PT', 248_769, 3], ['madrid', 'Madrid', 'ES', 3_332_035, 42], ['sevilla', 'Sevilla', 'ES', 684_025, 1], ['lyon', 'Lyon', 'FR', 522_250, 7],
			['marseille', 'Marseille', 'FR', 877_215, 3], ['genova', 'Genova', 'IT', 561_203, 0], ['torino', 'Torino', 'IT', 846_926, 8], ['zagreb', 'Zagreb', 'HR', 767_131, 15], ['graz', 'Graz', 'AT', 298_479, 6],
			['wien', 'Wien', 'AT', 2_005_760, 28], ['praha', 'Praha', 'CZ', 1_384_732, 35], ['oslo', 'Oslo', 'NO', 717_710, 6], ['helsinki', 'Helsinki', 'FI', 674_500, 11], ['riga', 'Rīga', 'LV', 605_273, 6], ['haifa', 'חיפה', 'IL', 285_316, 0], ['rabat', 'الرباط', 'MA', 515_619, 2]]
		for (const [id, name, country, people, trams] of places) await server.put('places/' + id, { name, country, people, trams, metro: trams > 20 })
		for (let i = 0; i < 3; i++) await server.request('POST', 'log/*', JSON.stringify({ level: 'info', text: 'started' }))
		await server.put('settings/display', { theme: 'calm', rows: 50 })
		const stream = new AbortController()
		const response = await fetch(server.url + '/~/live?watch=places/*&watch=settings/**', { headers: { Accept: 'text/event-stream' }, signal: stream.signal })
		// With PICTURES set, the pictures are those of the documentation.
		const pictures = process.env.PICTURES ? join(root, 'docs/explorer') : join(scratch, 'pictures')
		await mkdir(pictures, { recursive: true })
		const views = {
			start: ['', 'oo-tree .row .name'], list: ['list/places/*', 'oo-list .rows .row .cell'], object: ['list/places/*?object=places/lisbon', 'oo-object textarea'],
			new: ['list/places/*?object=places/&make=new', '#new-path'], inside: ['inside', '.plot svg'], connections: ['inside/connections', 'td .chip'],
		}
		const kept = { 'list-1440-light': 1, 'object-1440-dark': 1, 'list-360-dark': 1, 'object-360-light': 1, 'inside-1440-dark': 1 }
		for (const width of [1440, 360]) {
			for (const dark of [false, true]) {
				const page = await open('about:blank', { width, height: width === 360 ? 720 : 860, dark, calm: true })
				for (const [name, [path, ready]] of Object.entries(views)) {
					await page.goto(`${server.url}/~/ui/${path}`)
					await page.waitForSelector(ready, { state: 'attached' })
					await page.waitForTimeout(200)
					const look = `${name}-${width}-${dark ? 'dark' : 'light'}`
					if (kept[look]) await page.screenshot({ path: join(pictures, look + '.png') })
					await accessible(page, look)
					assert.ok(await nodes(page) <= mostNodes)
				}
				if (width === 360) {
					await page.goto(`${server.url}/~/ui/list/places/*`)
					await page.waitForSelector('oo-list .rows .row .cell')
					await page.click('button[aria-label=Directories]')
					await page.waitForSelector('oo-tree .row:has-text("settings") >> visible=true')
					await accessible(page, 'the tree, narrow')
					await page.click('oo-tree .row:has-text("settings") .name')
					await until(page, () => location.pathname === '/~/ui/list/settings/*' && !document.querySelector('.tree-open'))
				} else {
					await page.goto(`${server.url}/~/ui/list/places/*`)
					await page.waitForSelector('oo-list .rows .row .cell')
					await page.keyboard.press('Control+k')
					await page.keyboard.type('pla')
					await page.waitForSelector('[role=option]:has-text("places/")')
					await accessible(page, 'palette')
				}
				await page.finish()
			}
		}
		stream.abort()
		await response.body?.cancel().catch(() => {})
		// The theme that was chosen stays.
		const page = await open(server.url + '/~/ui/')
		await page.click('button[aria-label^=Theme]')
		await page.reload()
		assert.equal(await page.getAttribute('html', 'data-theme'), 'dark')
		await page.finish()
	})
})
