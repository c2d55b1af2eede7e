#!/bin/sh
# `use rule ... with:` merges params one by one and replaces everything else whole. A rule that is
# used again with `resources: mem_mb=...` alone loses the runtime and the GPUs of the original, and
# gets the defaults of the profile, without a message. Its `params:` lose nothing: names that are not
# repeated keep their values. Named inputs and logs are lost like resources.
#
# Versions: snakemake 9.27.1, Python 3.11.
# Seen, for a copy that names one of two things in each section:
#   params      u from the copy, v from the original
#   resources   mem_mb from the copy, no runtime
#   input       x from the copy, no y
#   log         m from the copy, no n
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q snakemake==9.27.1
cd "$folder"
touch x y other
cat >Snakefile <<'SNAKEFILE'
rule original:
    input: x="x", y="y"
    output: "original.txt"
    params: u="first", v="second"
    resources: mem_mb=100, runtime=7
    log: m="m.log", n="n.log"
    run:
        found = {"input": dict(input.items()), "params": dict(params.items())}
        found["log"] = dict(log.items())
        asked = {"mem_mb", "runtime"}
        found["resources"] = {key: value for key, value in resources.items() if key in asked}
        with open(output[0], "w") as file:
            json.dump(found, file)


use rule original as copy with:
    input: x="other"
    output: "copy.txt"
    params: u="changed"
    resources: mem_mb=200
    log: m="other.log"
SNAKEFILE
sed -i '1i import json' Snakefile
venv/bin/snakemake --version
venv/bin/snakemake --cores 1 --quiet all -- original.txt copy.txt
venv/bin/python - <<'PYTHON'
import json
import sys

seen = {}
for name in ("original", "copy"):
    with open(f"{name}.txt") as file:
        seen[name] = json.load(file)
    print(name, seen[name])
expected = {
    "input": {"x": "other"},
    "params": {"u": "changed", "v": "second"},
    "log": {"m": "other.log"},
    "resources": {"mem_mb": 200},
}
had_both = all(len(values) == 2 for values in seen["original"].values())
sys.exit(not had_both or seen["copy"] != expected)
PYTHON
