#!/bin/sh
# Snakemake runs this in the new environment. The Snakefile names in EVO2_TASKS_SOURCE what pip installs,
# unless you have named it yourself: a checkout, a wheel, or a name with a version. A checkout is
# installed editable, so that the environment follows it.
set -eu
[ ! -d "$EVO2_TASKS_SOURCE" ] || set -- --editable
python -m pip install --no-deps --no-build-isolation "$@" "$EVO2_TASKS_SOURCE"
