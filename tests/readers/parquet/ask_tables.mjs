// Reads the tables of make_tables.py with a reader in JavaScript, as ask_tables.py does in Python:
//     node ask_tables.mjs READER TABLES OUT
// A number of JavaScript is written as n and the digits of a float: it has one type for all numbers.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { readParquet } from 'parquet-wasm'
import { tableFromIPC } from 'apache-arrow'

const encodeNumber = value => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return 'n' + bytes.toString('hex')
}

const encode = value => {
  if (value === null || value === undefined) return null
  if (typeof value === 'boolean') return value
  if (typeof value === 'bigint') return `i${value}`
  if (typeof value === 'number') return encodeNumber(value)
  if (typeof value === 'string') return 's' + value
  if (value.constructor?.name.startsWith('StructRow') || value.constructor?.name.startsWith('MapRow')) {
    return Object.fromEntries([...value].map(([key, item]) => [key, encode(item)]))
  }
  if (Array.isArray(value) || ArrayBuffer.isView(value) || value[Symbol.iterator]) {
    return Array.from(value, encode)
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, encode(item)]))
}

const readers = {
  hyparquet: async (file, columns) => {
    const buffer = await asyncBufferFromFile(file)
    const metadata = await parquetMetadataAsync(buffer)
    const names = columns ?? parquetSchema(metadata).children.map(child => child.element.name)
    const rows = await parquetReadObjects({ file: buffer, metadata, columns, compressors })
    return Object.fromEntries(names.map(name => [name, rows.map(row => encode(row[name]))]))
  },
  'parquet-wasm': async (file, columns) => {
    const table = tableFromIPC(readParquet(readFileSync(file), { columns }).intoIPCStream())
    return Object.fromEntries(table.schema.fields.map(
      field => [field.name, Array.from(table.getChild(field.name), encode)]))
  },
}

const [reader, folder, out] = process.argv.slice(2)
const read = readers[reader]
const attempt = async ask => {
  try {
    return await ask()
  } catch (error) {
    return { error: String(error).split('\n')[0].slice(0, 100) }
  }
}
const filesOf = name => readdirSync(path.join(folder, name)).sort().map(file => path.join(folder, name, file))

const tables = {}
for (const file of filesOf('whole')) {
  tables[path.basename(file, '.parquet')] = await attempt(() => read(file))
}
const readLlr = async file => JSON.stringify((await read(file, ['llr'])).llr)
const good = await readLlr(path.join(folder, 'whole/scores.parquet'))
let wrong = 0
for (const file of filesOf('damaged')) {
  const seen = await attempt(() => readLlr(file))
  wrong += typeof seen === 'string' && seen !== good
}
const packageFile = new URL(`node_modules/${reader}/package.json`, import.meta.url)
const version = JSON.parse(readFileSync(packageFile)).version
writeFileSync(out, JSON.stringify({ version, tables, answers: { damaged: encode(wrong) } }))
