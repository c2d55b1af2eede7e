// Reads the bigWig files of make_tracks.py with the library of JBrowse, as read_tracks.py does in Python:
//     node read_tracks.mjs READER TRACKS OUT
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { BigWig } from '@gmod/bbi'

const [, folder, out] = process.argv.slice(2)
const encode = value => {
  if (typeof value === 'string') return 's' + value
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return 'n' + bytes.toString('hex')
}
const attempt = async ask => {
  try {
    return await ask()
  } catch (error) {
    return { error: String(error).split('\n')[0].slice(0, 100) }
  }
}
const open = name => new BigWig({ path: path.join(folder, name) })
const startsOf = async (name, contig, start, end) =>
  (await open(name).getFeatures(contig, start, end)).map(feature => encode(feature.start))

const readAll = async name => {
  const file = open(name)
  const { refsByNumber } = await file.getHeader()
  const columns = { contig: [], start: [], end: [], value: [] }
  for (const { name: contig, length } of Object.values(refsByNumber)) {
    for (const feature of await file.getFeatures(contig, 0, length)) {
      columns.contig.push(encode(contig))
      columns.start.push(encode(feature.start))
      columns.end.push(encode(feature.end))
      columns.value.push(encode(feature.score))
    }
  }
  return columns
}

const { tables: expected } = JSON.parse(readFileSync(path.join(folder, 'expected.json'), 'utf8'))
const tables = {}
for (const name of Object.keys(expected).filter(name => name.endsWith('.bw'))) {
  tables[name] = await attempt(() => readAll(name))
}
const answers = {
  first_bases_of_region: await attempt(() => startsOf('contigs.bw', 'chr1', 0, 4)),
  numbered_contig: await attempt(() => startsOf('numbered.bw', '1', 0, 10)),
  beyond_2_to_31: await attempt(() => startsOf('four_billion.bw', 'c', 2_999_999_990, 3_000_000_010)),
}
const version = JSON.parse(readFileSync(new URL('node_modules/@gmod/bbi/package.json', import.meta.url))).version
writeFileSync(out, JSON.stringify({ version, tables, answers }))
