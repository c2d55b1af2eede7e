"""Download the genomes of training/manifest.tsv from NCBI, and check their digests.

    python training/fetch.py --out build/genomes

The program writes one FASTA file for each group, with the sequences in the order and under the
names of the manifest. Sequences without an accession in the manifest were assembled from
metagenomes and are not in an archive; training/README.md states their source. They are left out and
counted. Sequences whose digest differs from the manifest, for example a later version of a record,
are left out and listed.

The program has been tested with a server that imitates NCBI's E-utilities, never with NCBI's own.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from evo2_tasks.errors import InputError
from training.prepare import sha512t24u

MANIFEST = Path(__file__).with_name("manifest.tsv")
EFETCH = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/efetch.fcgi"
RECORDS_PER_REQUEST = 50
TIMEOUT_S = 120
LINE_LENGTH = 80


@dataclass(frozen=True)
class Entry:
    """A row of the manifest.

    Attributes:
        group: Name of the FASTA file without its ending.
        name: Name of the sequence in the file.
        accession: Accession in GenBank or RefSeq; empty if there is none.
        start: First base of a part, 1-based; empty for a whole record.
        end: Last base of the part, 1-based.
        length: In bases.
        sha512t24u: The GA4GH digest of the upper-case bases.
    """

    group: str
    name: str
    accession: str
    start: str
    end: str
    length: str
    sha512t24u: str


def read_manifest(path: Path) -> list[Entry]:
    """Read the rows of the manifest."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Entry(**row) for row in csv.DictReader(file, delimiter="\t")]


def make_session() -> requests.Session:
    """A session that waits and tries again if the server is busy."""
    session = requests.Session()
    retry = Retry(
        total=6,
        backoff_factor=1,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET", "POST"),
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def read_fasta(text: str) -> Iterator[tuple[str, str]]:
    """Accession, without a range, and upper-case bases of each record."""
    for record in text.split(">")[1:]:
        header, _, lines = record.partition("\n")
        yield header.split()[0].partition(":")[0], "".join(lines.split()).upper()


def fetch(session: requests.Session, url: str, entries: Sequence[Entry]) -> dict[str, str]:
    """Download sequences: bases by name of the manifest, only those with the right digest.

    Args:
        session: The session.
        url: Address of efetch.
        entries: Several whole records, or one part of a record.

    Raises:
        InputError: The server does not answer.
    """
    query = {
        "db": "nuccore",
        "rettype": "fasta",
        "retmode": "text",
        "id": ",".join(entry.accession for entry in entries),
        "tool": "evo2-tasks",
    }
    if entries[0].start:
        query |= {"seq_start": entries[0].start, "seq_stop": entries[0].end}
    try:
        answer = session.post(url, data=query, timeout=TIMEOUT_S)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise InputError(
            f"{url}: {error}; run the command again: it continues with the missing groups."
        ) from error
    # An accession in the manifest may lack the version that the server returns.
    found = dict(read_fasta(answer.text))
    found |= {name.partition(".")[0]: bases for name, bases in found.items()}
    return {
        entry.name: found[entry.accession]
        for entry in entries
        if sha512t24u(found.get(entry.accession, "")) == entry.sha512t24u
    }


def make_batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """The entries of each request: many whole records, or one part of a record."""
    whole = [entry for entry in entries if entry.accession and not entry.start]
    yield from (
        whole[i : i + RECORDS_PER_REQUEST] for i in range(0, len(whole), RECORDS_PER_REQUEST)
    )
    yield from ([entry] for entry in entries if entry.accession and entry.start)


def write_fasta(path: Path, sequences: dict[str, str]) -> None:
    """Write a FASTA file; it appears complete or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="ascii") as file:
        for name, bases in sequences.items():
            lines = (bases[i : i + LINE_LENGTH] for i in range(0, len(bases), LINE_LENGTH))
            file.write(f">{name}\n" + "\n".join(lines) + "\n")
    partial.replace(path)


def run(manifest: Path, out: Path, url: str) -> int:
    """Download missing files; return the number of sequences that could not be downloaded."""
    entries, session = read_manifest(manifest), make_session()
    out.mkdir(parents=True, exist_ok=True)
    num_missing = 0
    for group in dict.fromkeys(entry.group for entry in entries):
        path, of_group = out / f"{group}.fa", [one for one in entries if one.group == group]
        if path.exists():
            print(f"{path}: exists already")
            continue
        fetched: dict[str, str] = {}
        with tqdm(total=len(of_group), desc=group, unit="sequences") as progress:
            for batch in make_batches(of_group):
                fetched |= fetch(session, url, batch)
                progress.update(len(batch))
        wanted = [entry.name for entry in of_group if entry.accession]
        missing = [name for name in wanted if name not in fetched]
        write_fasta(path, {name: fetched[name] for name in wanted if name in fetched})
        print(f"{path}: {len(fetched):,} sequences")
        if len(wanted) < len(of_group):
            print(f"  without an accession: {len(of_group) - len(wanted):,}")
        for name in missing:
            print(f"  missing or different from the manifest: {name}")
        num_missing += len(missing)
    return num_missing


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description="Download the genomes that evo2-mini was trained on."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the FASTA files")
    parser.add_argument("--manifest", type=Path, default=MANIFEST)
    parser.add_argument("--url", default=EFETCH, help="address of efetch")
    arguments = parser.parse_args()
    try:
        num_missing = run(arguments.manifest, arguments.out, arguments.url)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(1 if num_missing else 0)


if __name__ == "__main__":
    main()
