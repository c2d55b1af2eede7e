#!/bin/sh
# ferro-hgvs gives no canonical SPDI for a change of the last base of a sequence. It says that the
# change lies in a repeat tract of more than 32,768 bases, also for an SNV, which nothing can shift,
# in a sequence of 60 bases without a repeat. A duplication of the last base cannot be applied to
# the reference either, while a deletion of it and an insertion before it can. So chrM:16569 and the
# ends of contigs and transcripts have no key when variants are matched by canonical_spdi().
#
# Versions: ferro-hgvs 1.0.0, Python 3.11.
# Seen, in a sequence of 60 bases:
#   change           to_spdi   canonical_spdi                       apply_to_reference
#   SNV at 59        yes       yes                                  yes
#   SNV at 60        yes       no: "repeat tract ... past 32768"    yes
#   deletion of 60   yes       no: "repeat tract ... past 32768"    yes
#   dup of 59        yes       yes                                  yes
#   dup of 60        yes       no: "window could not be read"       no: the same
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q ferro-hgvs==1.0.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import json
import sys

import ferro_hgvs

ACCESSION = "NC_000001.11"
BASES = "GATTCACGTCAGTTGCAAGCTTAACGGATCCTGTCAATGCGTACCTGAAGTCGATCGGAT"
with open("genome.json", "w") as file:
    genome = {"version": "1.0", "genomic_sequences": {ACCESSION: BASES}, "transcripts": []}
    json.dump(genome, file)
normalizer = ferro_hgvs.Normalizer(reference_json="genome.json")


def try_it(method, name):
    """Whether a method takes a change; and if not, which of the two messages it gives."""
    try:
        method(normalizer.parse(f"{ACCESSION}:g.{name}"))
    except ferro_hgvs.ProjectionError as error:
        for words in ("past 32768 bases", "could not be read"):
            if words in str(error):
                return words
        return str(error)
    return "yes"


print("ferro-hgvs", ferro_hgvs.__version__, "length", len(BASES))
methods = (normalizer.to_spdi, normalizer.canonical_spdi, normalizer.apply_to_reference)
names = ("59A>C", "60T>A", "60del", "59dup", "60dup")
seen = {name: tuple(try_it(method, name) for method in methods) for name in names}
for name, found in seen.items():
    print(name, *found, sep="\t")
expected = {
    "59A>C": ("yes", "yes", "yes"),
    "60T>A": ("yes", "past 32768 bases", "yes"),
    "60del": ("yes", "past 32768 bases", "yes"),
    "59dup": ("yes", "yes", "yes"),
    "60dup": ("yes", "could not be read", "could not be read"),
}
sys.exit(seen != expected)
PYTHON
