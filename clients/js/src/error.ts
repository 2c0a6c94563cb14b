/** The kinds of docs/problems.md, and four kinds of the client itself, which come first. */
export type Kind =
  | 'network' // no answer came: whether a write was made is not known
  | 'invalid-data' // the hook `validate` refused; its error is the cause
  | 'malformed' // the server says what no server of Oolith says
  | 'closed' // the client or the `live` was closed
  | 'invalid-path' | 'invalid-json' | 'invalid-parameter' | 'invalid-header' | 'invalid-patch' | 'invalid-batch'
  | 'list-too-large' | 'refused' | 'unauthenticated' | 'forbidden' | 'reserved-path' | 'foreign-origin' | 'not-found'
  | 'no-such-resource' | 'method-not-allowed' | 'body-timeout' | 'patch-does-not-apply' | 'patch-test-failed'
  | 'condition-failed' | 'too-large' | 'unsupported-media-type' | 'foreign-host' | 'idempotency-key-reused'
  | 'condition-required' | 'too-many-requests' | 'too-many-connections' | 'too-many-streams' | 'internal'
  | 'not-supported' | 'unavailable' | 'read-only'
  | 'too-many' // the connection follows as many patterns as it may
  | (string & {})

/** The error of a request. */
export class OolithError extends Error {
  declare readonly name: 'OolithError'
  declare readonly kind: Kind
  /** The status of the answer; 0 if there was none. */
  declare readonly status: number
  /** The members of the problem, such as `revision`, `object`, `entry`, `offset`, `limit`. */
  declare readonly problem: Readonly<Record<string, any>>
  /** Identifies the request in the server's log. */
  declare readonly requestId: string

  constructor(kind: Kind, message: string, cause?: unknown, status = 0, problem = {}, requestId = '') {
    super(message, { cause })
    Object.assign(this, { name: 'OolithError', kind, status, problem, requestId })
  }
}
