// Chromium, and pages of an origin that is not the server's.
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'

/** Why browser tests are skipped; false where they are not. In CI, none is. */
export const skip = existsSync(executablePath) || process.env.CI ? false : 'skipped: no browser'

/** Bundles a program for a page, from what is built. */
export async function program(stdin) {
  const { outputFiles } = await build({
    stdin: { resolveDir: root, loader: 'jsx', ...stdin }, bundle: true, write: false, format: 'esm', jsx: 'automatic', absWorkingDir: root,
    alias: { oolith: './dist/index.js', 'oolith/react': './dist/react.js', 'oolith/offline': './dist/offline.js' },
    define: { 'process.env.NODE_ENV': '"development"' },
  })
  return outputFiles[0].text
}

/** Serves files by their path, as an origin of its own. */
export async function origin(t, files) {
  const server = createServer((request, response) => {
    const text = files[new URL(request.url, 'http://x').pathname]
    response.writeHead(text === undefined ? 404 : 200, { 'content-type': request.url.includes('.js') ? 'text/javascript' : 'text/html' }).end(text)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${server.address().port}`
}

/** Starts a browser whose tabs share what they store. An error in a page fails the test. */
export async function browser(t) {
  const profile = await mkdtemp(join(tmpdir(), 'chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath, headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  })
  const errors = []
  context.on('weberror', error => errors.push(error.error()))
  t.after(async () => {
    await context.close()
    await rm(profile, { recursive: true, force: true, maxRetries: 5 })
    if (errors.length) throw errors[0]
  })
  return context
}
