# make run     score the demo variants
# make test    run the tests
# Both set up .venv first.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# The rules find their command here, without an activated environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup run test slurm-test crash-test convert-test transformers-suite lint fix lock clean

help:
	@echo 'make run    score the demo variants (config.yaml)'
	@echo 'make test   run the tests'
	@echo 'make slurm-test  run the workflow on a SLURM cluster of this machine (root)'
	@echo 'make crash-test  kill the steps at random moments, in thirty rounds'
	@echo 'make convert-test  convert a checkpoint of 8 GB; takes 20 GB of disk in /tmp'
	@echo 'make lint   check format, style, types and the workflow'
	@echo 'make fix    format the code, write the generated files'
	@echo 'make setup  make .venv; the other targets do it too'
	@echo 'make lock   write constraints.txt again'
	@echo 'make clean  remove the files of set-up and runs, but not the results'

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo 'Installing into .venv; this takes some minutes.'
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[torch,evaluation,workflow,dev]'
	touch $@

run: setup
	snakemake --profile workflow/profiles/local
	@echo
	@find results -name scores.parquet -exec evo2-tasks show {} \;
	@echo
	@find results -name report.html -exec echo 'Report: {}' \;

# Two processes share the test files; torch uses one thread in each.
test: setup
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile -m 'not slurm'

# The workflow on a SLURM cluster that the tests start on this machine. Needs Debian or Ubuntu, and root;
# skipped elsewhere.
slurm-test: setup
	pytest tests/slurm

# Kills score and merge with SIGKILL at random moments, in thirty rounds.
crash-test: setup
	CRASH_ROUNDS=30 pytest tests/steps/test_crash.py

# Memory of converting and loading a checkpoint of 8 GB; make test uses one of 0.2 GB.
convert-test: setup
	OMP_NUM_THREADS=1 CONVERT_GB=8 pytest -s tests/evo2/test_big_files.py

# Runs the tests of transformers for its own language models on Evo 2. SUITE is a checkout of
# transformers at the installed version; without it they are skipped.
transformers-suite: setup
	$(if $(SUITE),$(BIN)/python -m pip install -qq httpx parameterized)
	TRANSFORMERS_SUITE='$(SUITE)' HF_HUB_OFFLINE=1 pytest tests/transformers_suite \
		-o strict=false -o xfail_strict=false -W ignore

lint: setup
	ruff check
	ruff format --check
	mypy
	snakefmt --check workflow
	snakemake --lint
	codespell

fix: setup
	ruff check --fix
	ruff format
	snakefmt workflow
	$(BIN)/python docs/generate.py

# The tested versions, from a new environment. The release of torch is chosen by hand; torch itself pins
# the packages of its CUDA build.
lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet torch==2.13.0 --editable '.[torch,evaluation,workflow,dev]'
	echo '# The versions that are tested. Written by: make lock' > constraints.txt
	build/lock/bin/python -m pip freeze --exclude-editable \
		| sed -E '/^(cuda|nvidia|triton)/d; s/\+cpu$$//' >> constraints.txt
	rm -rf build/lock

clean:
	rm -rf .venv .snakemake build logs
