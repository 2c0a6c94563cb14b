// A server of a new store, a browser, and pages that fail a test on any error of theirs.

import assert from 'node:assert/strict'
import { spawn, execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'

const here = dirname(fileURLToPath(import.meta.url))
export const root = join(here, '../../..')
export const scratch = mkdtempSync(join(tmpdir(), 'oolith-explorer-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))

const executable = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
/** Why no browser can be tested with; in CI that is a failure. */
export const skip = executable ? false : process.env.CI ? assert.fail('no browser: install chromium') : 'skipped: no browser'

/** How long anything may take, in milliseconds: far longer than it does. */
const wait = Number(process.env.WAIT ?? 20_000)

/** A program, built once. @param {string} source its directory */
function program(source) {
	const built = join(process.env.PROGRAMS ?? scratch, source.split('/').at(-1))
	if (!existsSync(built)) execFileSync('go', ['build', '-o', built, source], { cwd: root, env: { ...process.env, CGO_ENABLED: '0' }, stdio: 'inherit' })
	return built
}

/** A server of a million rows and 300,000 directories. */
export async function million() {
	const server = new Server()
	server.child = spawn(program('./server/ui/test/testdata/million'), { stdio: ['ignore', 'pipe', 'inherit'] })
	server.url = await new Promise((resolve, reject) => {
		server.child.stdout.once('data', data => resolve(JSON.parse(data).url))
		server.child.on('exit', code => reject(new Error(`the server of a million rows ended with ${code}`)))
	})
	return server
}

let stores = 0
/** A server that can be killed and started again at its address. */
export class Server {
	constructor({ store = `pebble:store-${++stores}`, flags = [] } = {}) {
		this.store = store // in the directory for what is thrown away
		this.flags = flags
		this.port = 0
	}

	async start() {
		const child = this.child = spawn(program('./cmd/oolith'), ['serve', '--json', '--store', this.store, '--addr', `127.0.0.1:${this.port}`, ...this.flags], { cwd: scratch, stdio: ['ignore', 'pipe', 'pipe'] })
		let errors = ''
		child.stderr.on('data', data => { errors += data })
		const greeting = await new Promise((resolve, reject) => {
			let text = ''
			child.stdout.on('data', data => { text += data; if (text.includes('\n')) resolve(JSON.parse(text.split('\n')[0])) })
			child.on('exit', code => reject(new Error(`the server ended with ${code}: ${errors}`)))
		})
		this.url = greeting.url
		this.token ??= greeting.token
		this.port = Number(new URL(this.url).port)
		return this
	}

	/** Ends it, as a lost machine does. */
	async kill() {
		const ended = new Promise(resolve => this.child.on('exit', resolve))
		this.child.kill('SIGKILL')
		await ended
	}

	request(method, path, body, headers = {}) {
		const auth = this.token ? { Authorization: `Bearer ${this.token}` } : {}
		return fetch(`${this.url}/${path}`, { method, headers: { 'Content-Type': 'application/json', ...auth, ...headers }, body })
	}

	async put(path, data, headers) {
		const answer = await this.request('PUT', path, typeof data === 'string' ? data : JSON.stringify(data), headers)
		assert.ok(answer.ok, `PUT ${path}: ${answer.status} ${await answer.text()}`)
	}

	async data(path) {
		const answer = await this.request('GET', path, undefined, { Accept: 'application/json' })
		return answer.status === 404 ? undefined : (await answer.json()).data
	}

	/** Stores many objects, some batches at a time. @param {number} count @param {(i: number) => [string, string]} make path and data */
	async fill(count, make) {
		let from = 0
		const worker = async () => {
			while (from < count) {
				const first = from
				from += 1000
				let body = ''
				for (let i = first; i < Math.min(count, first + 1000); i++) {
					const [path, data] = make(i)
					body += `${body ? ',' : ''}{"op":"set","path":"${path}","data":${data}}`
				}
				const answer = await this.request('POST', '~/batch', `{"changes":[${body}]}`)
				const said = await answer.text()
				assert.ok(answer.ok, said)
			}
		}
		await Promise.all([worker(), worker(), worker()])
	}
}

let browser
export async function launch() {
	browser ??= await chromium.launch({ executablePath: executable, args: [
		'--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] })
	return browser
}
export async function closeBrowser() {
	await browser?.close()
	browser = undefined
}

/** A page whose errors fail the test. @param {{width?: number, height?: number, dark?: boolean, calm?: boolean, expects?: RegExp}} [how] expects: what the console may say */
export async function open(url, { width = 1440, height = 900, dark = false, calm = false, expects, init } = {}) {
	const context = await (await launch()).newContext({
		viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', reducedMotion: calm ? 'reduce' : 'no-preference', acceptDownloads: true, permissions: ['clipboard-read', 'clipboard-write'],
	})
	const page = await context.newPage()
	page.setDefaultTimeout(wait)
	const errors = []
	page.on('pageerror', error => errors.push(String(error.stack)))
	page.on('console', message => { if (['error', 'warning'].includes(message.type()) && !/Failed to load resource|net::ERR/.test(message.text()) && !expects?.test(message.text())) errors.push(message.text()) })
	if (init) await page.addInitScript(init)
	await page.goto(url)
	page.finish = async () => {
		await context.close()
		assert.deepEqual(errors, [], 'the page has errors')
	}
	return page
}

const axeText = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
/** What a page has against WCAG 2.2 AA. */
export async function accessible(page, what) {
	await page.waitForTimeout(150) // what lights up is over, or it is caught half way
	await page.evaluate(axeText)
	const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
	assert.deepEqual(violations.map(v => `${what}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.target + ' ' + (n.any[0]?.message ?? n.failureSummary)).join(' | ')}`), [])
	const small = await page.evaluate(() => [...document.querySelectorAll('button, summary, select, input:not([type=checkbox]):not([type=radio]), a')]
		.filter(e => e.checkVisibility() && !e.closest('p, dd, .skip') && !e.classList.contains('link')).map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()]).filter(([, r]) => r.width > 0 && (r.width < 24 || r.height < 24)).map(([t]) => t))
	assert.deepEqual(small, [], `${what}: targets of less than 24 pixels`)
	const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
	assert.ok(sideways <= 0, `${what}: the page scrolls sideways by ${sideways}`)
}

export const nodes = page => page.evaluate(() => document.querySelectorAll('*').length)
/** Waits until a function of the page is true. */
export const until = (page, test, arg) => page.waitForFunction(test, arg, { timeout: wait, polling: 50 })
export const text = (page, selector) => page.textContent(selector)
/** The names of the rows in sight. */
export const names = page => page.$$eval('oo-list .rows .row:not(:has(.ghost)) .name', all => all.map(e => e.title).filter(Boolean))
/** The focus is where it can be seen. */
export async function focusSeen(page) {
	assert.ok(await page.evaluate(() => {
		const e = document.activeElement
		if (!e || e === document.body) return true
		const r = e.getBoundingClientRect(), x = Math.min(innerWidth - 1, Math.max(0, r.x + r.width / 2)), y = Math.min(innerHeight - 1, Math.max(0, r.y + Math.min(r.height / 2, 100)))
		const top = document.elementFromPoint(x, y)
		return e.contains(top) || top?.contains(e)
	}), 'the focus is hidden')
}
export { assert, readFileSync, join, here }
