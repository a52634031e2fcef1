# make train      the quickstart: train on the bundled prices, on Aer
# make test       the test suite, on 2 cores
# make fuzz       a thousand random circuits of Qiskit's library on every executor, 2,000 damaged files (long)
# make check      ruff, mypy --strict, import-linter, deptry; builds the documentation
# make docs       the documentation as pages: site/index.html, readable without a network
# make notebooks  the notebooks in a kernel; stores their outputs (installs it)
# make browser    the report in a headless Chromium (installs playwright and axe; the browser must be there)
# make commands   every command of the documentation, also the two that the tests leave out (minutes)
# make bench      the benchmarks, beside other libraries (installs them)
# make ui         MLflow's page of the runs, on this machine alone (installs it, apart)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: train test fuzz check docs notebooks browser commands bench ui clean

train: $(VENV)/.installed
	$(BIN)/qhq train --backend aer

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

fuzz: $(VENV)/.installed-dev
	QHQ_FUZZ=$${QHQ_FUZZ:-1000} $(BIN)/python -m pytest tests/backends/test_library.py tests/backends/noisy/test_adjoint.py tests/quantum/test_torch_tools.py
	$(BIN)/python -m benchmarks.hostile

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(MAKE) --no-print-directory docs

# The variable silences a notice about other versions of MkDocs than the one that is pinned.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

notebooks: $(VENV)/.installed-dev
	@$(PIP) --editable '.[notebooks]'
	$(BIN)/python docs/_site/execute.py

browser: $(VENV)/.installed-dev
	@$(PIP) --editable '.[browser]'
	$(BIN)/python -m pytest -rs tests/report/test_browser.py

commands: $(VENV)/.installed-dev
	QHQ_COMMANDS=all $(BIN)/python -m pytest tests/commands

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

# Its pyarrow is older than the one that qhq is tested with: an environment of its own.
ui: $(VENV)-ui/.installed
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(VENV)-ui/bin/mlflow ui --host 127.0.0.1 \
	  --backend-store-uri "sqlite:///$${QHQ_RUNS_DIR:-runs}/mlflow.db"

clean:
	rm -rf $(VENV) $(VENV)-ui site .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "qhq needs Python 3.11 or newer. Got $$($(PYTHON) --version). Run: make PYTHON=python3.12"; exit 2; }
	@echo "Making $(VENV), an environment of its own ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing qhq and its packages into $(VENV) (about 2 GB on disk, one to three minutes) ..."
	@$(PIP) --editable .
	@echo "Compiling the exact engine, once for this machine (about half a minute) ..."
	@$(BIN)/python -m qhq.engine
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests and checks need (about a minute) ..."
	@$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	@echo "Installing the libraries that the benchmarks compare with (one to three minutes) ..."
	@$(PIP) --editable '.[bench]'
	@touch $@

$(VENV)-ui/.installed: constraints.txt
	@echo "Installing MLflow's page into $(VENV)-ui (about a minute) ..."
	@$(PYTHON) -m venv $(VENV)-ui
	@grep -v '^pyarrow==' constraints.txt > $(VENV)-ui/constraints.txt
	@$(VENV)-ui/bin/python -m pip --disable-pip-version-check install --quiet \
	  --constraint $(VENV)-ui/constraints.txt mlflow
	@touch $@
