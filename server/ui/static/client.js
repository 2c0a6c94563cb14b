// The JavaScript client of the store, for what needs no text of its own: deletes, batches, merges, pages.

import { connect } from './vendor/oolith.js'
import { token, Problem, loginNeeded, lost, found } from './api.js'

export const store = connect(location.origin, { token: () => token() || undefined, retries: 1 })

/** Calls the store, and says what goes wrong as all requests do. @template T @param {Promise<T>} call @returns {Promise<T>} */
export async function called(call) {
	try {
		const answer = await call
		found()
		return answer
	} catch (error) {
		const { status, message, kind } = /** @type {any} */ (error)
		if (!status) { lost(); throw new Problem(0, 'the server does not answer') }
		if (status === 401) loginNeeded.set('The token is no longer valid: it expired or was revoked.')
		throw new Problem(status, message, { type: '#' + kind })
	}
}
