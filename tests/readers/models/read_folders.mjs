// Reads the headers of the weights of the folders of make_folders.py with the client of the Hugging Face
// hub for JavaScript, which shows them on the page of a model. Its requests are answered from the folder:
//     node read_folders.mjs READER FOLDERS OUT
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseSafetensorsMetadata } from '@huggingface/hub'

const [, folders, out] = process.argv.slice(2)

const answerFrom = folder => async (url, options) => {
  const name = decodeURIComponent(new URL(url).pathname).split(/\/(?:resolve|raw)\/main\//)[1]
  const file = path.join(folder, name)
  if (!existsSync(file)) {
    return new Response('', { status: 404, headers: { 'x-error-code': 'EntryNotFound' } })
  }
  const whole = readFileSync(file)
  const [, start, end] = /bytes=(\d+)-(\d+)/.exec(new Headers(options?.headers).get('range')) ?? []
  const body = end ? whole.subarray(Number(start), Number(end) + 1) : whole
  const headers = {
    etag: '"1"',
    'content-length': String(body.length),
    'content-range': `bytes ${start ?? 0}-${end ?? whole.length - 1}/${whole.length}`,
  }
  return new Response(body, { status: end ? 206 : 200, headers })
}

const tables = {}
for (const name of ['whole', 'parts']) {
  const repository = { repo: 'owner/name', fetch: answerFrom(path.join(folders, name)) }
  const found = await parseSafetensorsMetadata(repository)
  const header = found.sharded ? Object.assign({}, ...Object.values(found.headers)) : found.header
  delete header.__metadata__
  tables[`${name}: dtypes and shapes`] = Object.fromEntries(Object.entries(header).map(
    ([key, tensor]) => [key, [`s${tensor.dtype}`, ...tensor.shape.map(size => `i${size}`)]]))
}
const file = new URL('node_modules/@huggingface/hub/package.json', import.meta.url)
const version = JSON.parse(readFileSync(file)).version
writeFileSync(out, JSON.stringify({ version, tables, answers: {} }))
