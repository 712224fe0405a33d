# `make` alone lists the targets. Every target that needs the environment makes it first.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

# A copy of the setup.py that the environment was made from. Contents are compared and not times:
# a fresh checkout gives every file a new time, and must not reinstall a good environment.
STAMP := $(VENV)/installed_setup.py
OPENCV := opencv-python-headless==4.12.0.88

.DEFAULT_GOAL := help
.PHONY: help setup demo test examples test-all lint docs wheel bench audit

help:  ## list the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

# OpenCV comes last: dependencies bring its build with windows, which does not start on a machine
# without graphics libraries, and the headless build has to be written over it.
# A shim of pyenv may be there and start nothing: it is tried first. With the compat mode the package
# is found too in the folder that holds the checkout, whose own folder has the package's name.
setup:  ## make .venv and install everything, once and again when setup.py changes
	@test -x $(RUN) || $(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
	  || { echo "error: $(PYTHON) does not start, has no venv, or is no Python 3.10, 3.11 or 3.12: \
	name one that does, PYTHON=/usr/bin/python3.11 make setup" >&2; exit 2; }
	@if ! cmp -s setup.py $(STAMP); then set -ex; \
	  test -x $(RUN) || $(PYTHON) -m venv $(VENV); \
	  $(RUN) -m pip install -e '.[dev]' --config-settings editable_mode=compat; \
	  $(RUN) -m pip install --force-reinstall --no-deps $(OPENCV); \
	  cp setup.py $(STAMP); \
	fi

# One worker per core, one thread each: the models of the tests are too small to share out. Tests of a
# file stay on one worker as long as both have some: what they share is made once. What the many processes
# that tests start import is compiled once, whatever the environment says.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n auto --dist worksteal

# Classification alone: make demo TASKS=cls; with teachers trained here: make demo TEACHERS=train
TASKS := cls det seg depth
TEACHERS := given
demo: setup  ## both stages for all tasks on the embedded data: work_dirs/demo/report.html
	$(RUN) tools/reproduce.py --suite demo --tasks $(TASKS) --teachers $(TEACHERS)

test: setup  ## the tests, without the slow ones and those for a GPU
	$(PYTEST) -m "not slow and not gpu"

examples: setup  ## the worked examples of the documentation, as a reader types them: some ten minutes
	$(PYTEST) tests/test_docs

test-all: setup  ## all tests, without those for a GPU
	$(PYTEST) -m "not gpu"

lint: setup  ## ruff and mypy
	$(RUN) -m ruff check
	$(RUN) -m mypy

# The tools of the site are installed on first use: a second stamp says of which setup.py.
DOCS_STAMP := $(VENV)/installed_docs_setup.py
docs: setup  ## the documentation in site/, warnings are errors (Python 3.11 or newer)
	@if ! cmp -s setup.py $(DOCS_STAMP); then set -ex; \
	  $(RUN) -m pip install -e '.[docs]'; \
	  cp setup.py $(DOCS_STAMP); \
	fi
	$(RUN) -m sphinx -W --keep-going -q -b html docs site

wheel: setup  ## the package as a file in dist/
	$(RUN) -m pip wheel --no-deps -w dist .

audit: setup  ## known vulnerabilities of the installed packages; says so where none can be looked up
	$(RUN) .ci/audit.py

bench: setup  ## speed of training steps against the published way: two minutes
	$(RUN) tools/benchmark.py --quick
