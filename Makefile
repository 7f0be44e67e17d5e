# make reproduce   everything from nothing to reports/<scale>/index.html
# make test        every check that CI runs
# make docs        the documentation site, in build/site
SCALE ?= quick
SCOPE ?= core
EXPERIMENTS ?=
CORES ?= all
DEVICES ?= 1
PYTHON ?= $(shell command -v python3.11 || echo python3)
BIN := .venv/bin
STAMP := .venv/installed

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: reproduce test check docs environment clean

reproduce: environment
	@snakemake --cores $(CORES) --config scale="$(SCALE)" scope="$(SCOPE)" experiments="$(EXPERIMENTS)" devices="$(DEVICES)"
	@echo "Done. Open $(CURDIR)/reports/$(SCALE)/index.html"

test: environment check
	@pytest -n 2 --dist loadfile  # a file stays on one worker, so that its long runs are made once

check: environment
	@ruff check .
	@ruff format --check .
	@mypy
	@snakefmt --check Snakefile workflows/rules
	@python -m tests.lint_workflow

docs: environment
	@NO_MKDOCS_2_WARNING=1 python -m mkdocs build --quiet
	@echo "Done. Open $(CURDIR)/build/site/index.html"

environment: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
		echo "make: got '$(PYTHON)', expected a Python of at least 3.11; run make PYTHON=/path/to/python"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the pinned packages (about three minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

clean:
	rm -rf results/smoke results/quick results/paper reports/smoke reports/quick reports/paper .snakemake
