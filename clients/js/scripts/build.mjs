// Builds dist: a readable module for each entry, and its types. `node scripts/build.mjs vendor [--check]` writes the core
// for the explorer, or compares what is there with what would be written.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

/** Bundles an entry: what it imports from the other entries stays an import. */
export async function bundle(entry, options = {}) {
  const built = await build({
    absWorkingDir: root, entryPoints: [`src/${entry}.ts`], bundle: true, write: false, format: 'esm', target: 'es2022', platform: 'neutral',
    external: entry === 'index' ? [] : ['./index.js', 'react'], charset: 'utf8', legalComments: 'none', ...options,
  })
  return built.outputFiles[0].text
}

export const entries = ['index', 'react', 'offline'].filter(entry => existsSync(join(root, `src/${entry}.ts`)))

function types(to) {
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--emitDeclarationOnly', '--outDir', to], { cwd: root, stdio: 'inherit' })
}

async function dist() {
  const to = join(root, 'dist')
  await rm(to, { recursive: true, force: true })
  types(to)
  for (const entry of entries) await writeFile(join(to, `${entry}.js`), await bundle(entry))
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
  for (const [name, text] of [['oolith.js', await bundle('index')], ['oolith.d.ts', await coreTypes()]]) {
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
