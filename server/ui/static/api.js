// Requests: each with the token, each failure as a problem in words, and whether the server is there.

import { Signal } from './element.js'

/** What went wrong, as the server or the network says it. */
export class Problem extends Error {
	/** @param {number} status 0 where no answer came @param {string} detail @param {Record<string, any>} [members] */
	constructor(status, detail, members = {}) {
		super(detail)
		this.status = status
		this.members = members
		this.kind = String(members.type ?? '').split('#')[1] ?? ''
	}
}

/**
 * @typedef {object} Whoami
 * @property {string} store
 * @property {boolean} authenticated whether the server asks for a token
 * @property {string} [name]
 * @property {{id: string, name: string, scopes: {pattern: string, verbs: string[]}[], expires?: string}} [token]
 * @property {{read: boolean, write: boolean, admin: boolean}} may
 * @property {{batchChanges: number, listObjects: number, body: number}} limits
 */

/** Since when the server does not answer, as a time; 0 while it does. */
export const staleSince = new Signal(0)
/** Who the server takes us for; undefined before it says so. */
export const me = new Signal(/** @type {Whoami | undefined} */ (undefined))
/** Why a token is asked for; '' while none is. */
export const loginNeeded = new Signal('')

/** Whether we may write anything at all: what exactly, the server says. */
export const mayWrite = () => Boolean(me.value?.may.write || me.value?.token?.scopes.some(scope => scope.verbs.includes('write')))

const tokenKey = 'oolith.token'
export const token = () => sessionStorage.getItem(tokenKey) ?? localStorage.getItem(tokenKey) ?? ''

/** Keeps a token: in this tab, or in this browser. @param {string} text @param {boolean} keep */
export function setToken(text, keep) {
	sessionStorage.removeItem(tokenKey)
	localStorage.removeItem(tokenKey)
	if (text) (keep ? localStorage : sessionStorage).setItem(tokenKey, text)
}

/** The server cannot be reached. */
export function lost() { if (!staleSince.value) staleSince.set(Date.now()) }
/** It answers. */
export function found() { staleSince.set(0) }

/**
 * Sends a request and returns its answer, of whatever status is no failure; 304, 404 and 412 are the caller's where they are accepted.
 * @param {string} target
 * @param {RequestInit & {accept?: number[]}} [init]
 */
export async function request(target, init = {}) {
	const headers = new Headers(init.headers)
	if (!headers.has('Accept')) headers.set('Accept', 'application/json, application/problem+json')
	const sent = token()
	if (sent) headers.set('Authorization', 'Bearer ' + sent)
	let response
	try {
		response = await fetch(target, { ...init, headers, cache: 'no-store' })
	} catch (error) {
		if (init.signal?.aborted) throw error
		lost()
		throw new Problem(0, 'the server does not answer')
	}
	found()
	if (response.ok || init.accept?.includes(response.status)) return response
	throw await problemOf(response, sent)
}

/** @param {Response} response @param {string} sent the token of the request */
async function problemOf(response, sent) {
	const text = await response.text().catch(() => '')
	let members = {}, detail = text.trim() || `the server answers with status ${response.status}`
	try {
		members = JSON.parse(text)
		detail = String(/** @type {any} */ (members).detail ?? detail)
	} catch { /* an answer in words */ }
	const problem = new Problem(response.status, detail, members)
	// Another token may have been given since.
	if (response.status === 401 && sent === token()) loginNeeded.set(token() ? 'The token is no longer valid: it expired or was revoked.' : 'This server requires a token.')
	return problem
}

/** Sends a request and returns its answer's JSON. @param {string} target @param {RequestInit} [init] @returns {Promise<any>} */
export async function json(target, init) { return (await request(target, init)).json() }

/** Sends JSON. @param {string} method @param {string} target @param {unknown} [body] @param {Record<string, string>} [headers] */
export const send = (method, target, body, headers = {}) => request(target, {
	method, headers: { 'Content-Type': 'application/json', ...headers }, body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
})

/** A query without what is empty. @param {Record<string, string | number | undefined>} values */
export function query(values) {
	const all = new URLSearchParams()
	for (const [name, value] of Object.entries(values)) if (value !== undefined && value !== '') all.set(name, String(value))
	return '?' + all
}

/** Asks who we are. */
export async function identify() {
	const who = await json('/~/whoami')
	me.set(who)
	loginNeeded.set('')
	return who
}

/** An error in words. @param {unknown} error */
export const words = error => error instanceof Error ? error.message : String(error)
