# make run     score the demo variants
# make test    run the tests
# Both set up .venv first.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

NEWEST_TESTS := $(wildcard tests/evo2/test_contract_*.py) \
	$(addprefix tests/evo2/test_,docs_python.py modeling.py segments.py usage.py) \
	$(addprefix tests/evaluation/test_,bootstrap.py evaluate.py folds.py metrics.py probe_files.py probes.py) \
	$(addprefix tests/genome/test_,bcf.py consequences.py genotypes.py hgvs.py identifiers.py random_snvs.py \
		reference.py regions.py sizes.py tables_of_programs.py variant_tables.py) \
	$(addprefix tests/,exports io report table commands/test_show.py) \
	tests/workflow/test_end_to_end.py

# The rules find their command here, without an activated environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup run test slow-test newest-test readers-test oldest-test slurm-test cluster-test sge-test crash-test convert-test transformers-suite docs dist lint fix lock clean

help:
	@echo 'make run    score the demo variants (config.yaml)'
	@echo 'make test   run the tests'
	@echo 'make slow-test  run the tests that take longest'
	@echo 'make newest-test  run tests with the newest release of every dependency'
	@echo 'make readers-test  read our files with other programs'
	@echo 'make oldest-test  test the contract with transformers with its oldest version'
	@echo 'make slurm-test  run the workflow on a SLURM cluster of this machine (root)'
	@echo 'make cluster-test  submit jobs by the profiles of other schedulers, with stand-ins for these'
	@echo 'make sge-test  run the workflow on a Grid Engine of this machine (root)'
	@echo 'make crash-test  kill the steps at random moments, in thirty rounds'
	@echo 'make convert-test  convert a checkpoint of 8 GB; takes 20 GB of disk in /tmp'
	@echo 'make docs   build the documentation as a website'
	@echo 'make dist   build what a release has, in dist/'
	@echo 'make lint   check format, style, types and the workflow'
	@echo 'make fix    format the code, write the generated files'
	@echo 'make setup  make .venv; the other targets do it too'
	@echo 'make lock   write constraints.txt again'
	@echo 'make clean  remove the files of set-up and runs, but not the results'

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo 'Installing into .venv; this takes some minutes.'
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[torch,evaluation,tracks,workflow,docs,dev]'
	touch $@

run: setup
	snakemake --profile workflow/profiles/local
	@echo
	@find results -name scores.parquet -exec evo2-tasks show {} \;
	@echo
	@find results -name report.html -exec echo 'Report: {}' \;

# Two processes share the test files; torch uses one thread in each.
test: setup
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile -m 'not slurm and not slow'

# The tests of more than about half a minute each.
slow-test: setup
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile -m 'slow and not slurm and not cluster'

# With the newest release of every dependency: what meets other packages, and a run of the workflow.
# torch is the one of constraints.txt, because its other builds take gigabytes.
# tests/newest_failures.yaml names the tests that may fail, each with the reason.
newest-test:
	rm -rf build/newest
	$(PYTHON) -m venv build/newest
	@echo 'Installing into build/newest; this takes some minutes.'
	build/newest/bin/python -m pip install -qq $$(grep ^torch== constraints.txt) \
		--editable '.[torch,evaluation,tracks,workflow,dev]'
	@echo 'Other versions than in constraints.txt:'
	@build/newest/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' \
		| grep --invert-match --line-regexp --fixed-strings --file constraints.txt || true
	OMP_NUM_THREADS=1 build/newest/bin/python -m pytest -n 2 --dist loadfile -m 'not slurm and not slow' \
		--known-failures tests/newest_failures.yaml $(NEWEST_TESTS)

# Our files in the programs that people read them with, in the environment build/readers: docs/readers.md.
# ALL=1 adds Spark and ClickHouse (1.4 GB, Java 17), the programs of Debian that are there, and oldest-test.
# Without npm the readers in JavaScript are skipped.
READERS := build/readers
readers-test: setup
	test -x $(READERS)/bin/python || $(PYTHON) -m venv $(READERS)
	$(READERS)/bin/python -m pip install -qq -r tests/readers/requirements.txt \
		$(if $(ALL),-r tests/readers/requirements-all.txt)
	rm -rf $(READERS)/lib/python3*/site-packages/tests  # pyranges installs it, and it would hide ours
	cp tests/readers/package.json $(READERS)
	! command -v npm > /dev/null || npm install --prefix $(READERS) --silent --no-package-lock
	python -m tests.readers.run $(READERS) $(if $(ALL),--all)
	$(if $(ALL),$(MAKE) oldest-test)

# The contract with transformers, with the oldest version that pyproject.toml allows.
oldest-test:
	test -x build/oldest/bin/python || $(PYTHON) -m venv build/oldest
	@echo 'Installing into build/oldest; this takes some minutes.'
	build/oldest/bin/python -m pip install -qq $$(grep ^torch== constraints.txt) \
		transformers==$$(sed -n 's/.*"transformers>=\([0-9.]*\),.*/\1/p' pyproject.toml).0 \
		accelerate hypothesis peft pytest --editable '.[torch]'
	OMP_NUM_THREADS=1 build/oldest/bin/python -m pytest $(wildcard tests/evo2/test_contract_*.py)

# The workflow on a SLURM cluster that the tests start on this machine. Needs Debian or Ubuntu, and root;
# skipped elsewhere.
slurm-test: setup
	pytest tests/slurm

# The profiles of other schedulers, with stand-ins for their commands. Their plugins are not in .venv,
# because Snakemake imports all plugins in each job.
CLUSTER_PLUGINS := $(addprefix snakemake-executor-plugin-,cluster-generic lsf)
cluster-test: setup
	$(BIN)/python -m pip install -qq --no-deps --upgrade --target build/clusters --constraint constraints.txt $(CLUSTER_PLUGINS)
	PYTHONPATH='$(CURDIR)/build/clusters' pytest -n 2 -m 'not cluster' tests/clusters

# The workflow on a Grid Engine that the tests start on this machine. Needs Debian or Ubuntu, and root.
# .ci/run does not run it: its jobs wait for the clock of the scheduler.
sge-test: cluster-test
	PYTHONPATH='$(CURDIR)/build/clusters' pytest -m cluster tests/clusters

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

# Warnings are errors: a link that leads nowhere, a page that is in no navigation, a faulty docstring.
docs: setup
	sphinx-build -q -W --keep-going -b html -c docs -d build/doctrees . build/site
	@echo 'Open build/site/index.html'

# What a release has: the wheel, the source archive, the bill of materials, the conda recipe, the tested
# versions. Two builds of one commit are the same bytes.
dist: setup
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation
	twine check --strict dist/*
	$(BIN)/python release/bill_of_materials.py dist/*.whl
	$(BIN)/python release/conda_recipe.py dist/*.tar.gz
	cp constraints.txt dist/

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
	build/lock/bin/python -m pip install --quiet torch==2.13.0 --editable '.[torch,evaluation,tracks,workflow,clusters,docs,dev]'
	echo '# The versions that are tested. Written by: make lock' > constraints.txt
	build/lock/bin/python -m pip freeze --exclude-editable \
		| sed -E '/^(cuda|nvidia|triton)/d; s/\+cpu$$//' >> constraints.txt
	rm -rf build/lock

clean:
	rm -rf .venv .snakemake build dist logs
