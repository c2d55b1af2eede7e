#!/bin/sh
# Snakemake runs this in the new environment, in the directory in which it was started. The package
# is not published: it is installed from its checkout, which is that directory unless
# EVO2_TASKS_SOURCE names another one. Editable, so that the environment follows the checkout.
set -eu
python -m pip install --no-deps --no-build-isolation --editable "${EVO2_TASKS_SOURCE:-$PWD}"
