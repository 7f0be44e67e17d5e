# make reproduce   everything from nothing to reports/<scale>/index.html
# make figures     the same tables, figures and page from the results in the checkout, without torch
# make report      Snakemake's own report of a finished run
# make test        every check that CI runs
# make bench       speed, against a plain implementation and goals, to benchmarks/results.md
# make docs        the documentation site, in build/site
SCALE ?= quick
SCOPE ?= core
EXPERIMENTS ?=
CORES ?= all
DEVICES ?= 1
PYTHON ?= $(shell command -v python3.11 || echo python3)
REPORTS := $(or $(HSIVI_REPORTS),reports)
BIN := .venv/bin
STAMP := .venv/installed
# Where nothing is installed yet, figures make do with a small environment of their own.
LIGHT := $(if $(wildcard $(STAMP)),.venv,.venv-figures)

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: reproduce figures report test check bench docs environment clean

reproduce: environment
	@snakemake --cores $(CORES) --config scale="$(SCALE)" scope="$(SCOPE)" experiments="$(EXPERIMENTS)" devices="$(DEVICES)"
	@echo "Done. Open $(abspath $(REPORTS))/$(SCALE)/index.html"

figures: $(LIGHT)/installed
	@$(LIGHT)/bin/python -m hsivi figures --to "$(REPORTS)/reference" --scale "$(SCALE)" --scope "$(SCOPE)" $(if $(strip $(EXPERIMENTS)),--experiments $(EXPERIMENTS))

report: environment
	@snakemake --cores 1 --config scale="$(SCALE)" scope="$(SCOPE)" experiments="$(EXPERIMENTS)" --report "$(REPORTS)/$(SCALE)/snakemake-report.html"

test: environment check
	@pytest -n 2 --dist loadfile  # a file stays on one worker, so that its long runs are made once

check: environment
	@ruff check .
	@ruff format --check .
	@mypy
	@snakefmt --check Snakefile workflows/rules
	@python -m tests.lint_workflow
	@hadolint Dockerfile

bench: environment
	@pytest benchmarks --benchmark-timer=time.process_time --benchmark-columns=median,iqr --benchmark-sort=fullname

docs: environment
	@NO_MKDOCS_2_WARNING=1 python -m mkdocs build --quiet
	@echo "Done. Open $(CURDIR)/build/site/index.html"

environment: $(STAMP)

$(STAMP): EXTRA := dev
.venv-figures/installed: EXTRA := figures
$(STAMP) .venv-figures/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
		echo "make: got '$(PYTHON)', expected a Python of at least 3.11; run make PYTHON=/path/to/python"; exit 2; }
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing the pinned packages of the extra '$(EXTRA)' (the first time: figures half a minute, dev three)"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRA)]"
	@touch $@

clean:
	rm -rf results/smoke results/quick results/paper reports/smoke reports/quick reports/paper reports/reference .snakemake
