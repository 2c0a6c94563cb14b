// Builds dist: a readable module for each entry, and its types. `node scripts/build.mjs vendor [--check]` writes the core
// for the explorer, or compares what is there with what would be written.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

/**
 * Bundles an entry, and returns its files by name: the entry and, where it loads another part only when that is needed, that
 * part. What it imports from other entries stays an import.
 */
export async function bundle(entry, { splitting = true, ...options } = {}) {
  const { outputFiles } = await build({
    absWorkingDir: root, entryPoints: [`src/${entry}.ts`], bundle: true, write: false, outdir: 'dist', splitting, chunkNames: '[name]',
    // Members that no user sees have short names.
    mangleProps: splitting ? /^(asked|synced|held|become|bearer|quiet|refuse|opened|oldest|errorOf|take|check|base|listeners|remove|client)$/ : undefined,
    format: 'esm', target: 'es2022', platform: 'neutral', charset: 'utf8', external: entry === 'index' ? [] : ['./index.js', 'react'], ...options,
  })
  return new Map(outputFiles.map(({ path, text }) => [basename(path), text]))
}

export const entries = ['index', 'react', 'offline']

function types(to) {
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--emitDeclarationOnly', '--outDir', to], { cwd: root, stdio: 'inherit' })
}

async function dist() {
  const to = join(root, 'dist')
  await rm(to, { recursive: true, force: true })
  types(to)
  for (const own of ['events', 'feed', 'http', 'link']) await rm(join(to, `${own}.d.ts`)) // nothing that is exported names them
  for (const entry of entries) for (const [name, text] of await bundle(entry)) await writeFile(join(to, name), text)
}

/** The types of the core as one file. */
async function coreTypes() {
  const to = await mkdtemp(join(tmpdir(), 'oolith-types-'))
  types(to)
  const texts = await Promise.all(['error', 'types', 'index'].map(name => readFile(join(to, `${name}.d.ts`), 'utf8')))
  await rm(to, { recursive: true })
  return texts.join('').replace(/^(import|export (type )?[{*]).*\n/gm, '')
}

async function vendor(check) {
  const head = '// The client of clients/js, built by `npm run vendor` there. MIT; see LICENSE.\n'
  const to = join(root, '../../server/ui/static/vendor')
  for (const [name, text] of [['oolith.js', (await bundle('index', { splitting: false })).get('index.js')], ['oolith.d.ts', await coreTypes()]]) {
    const file = join(to, name)
    if (!check) {
      await mkdir(to, { recursive: true })
      await writeFile(file, head + text)
    } else if ((await readFile(file, 'utf8').catch(() => '')) !== head + text) {
      console.error(`${file} is not what clients/js builds: run \`npm run vendor\` in clients/js`)
      process.exitCode = 1
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await (process.argv[2] === 'vendor' ? vendor(process.argv.includes('--check')) : dist())
}
