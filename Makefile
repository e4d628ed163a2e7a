# Two commands: `make demo` and `make test`. Both make their own virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TFIO := .venv-tfio
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo test test-tfio test-kill quick lint types bench constraints clean

help:
	@echo "make demo    install, train on the embedded set, score, export (a few minutes on a CPU)"
	@echo "make test    install, then lint, types, all tests, and training on Keras' TensorFlow backend"
	@echo "make test-tfio  the same shards through tensorflow-io, in an environment of its own (.venv-tfio)"
	@echo "make test-kill  a run killed ten times ends like one that never was (some ten minutes)"
	@echo "make quick   the tests without the whole-process ones"
	@echo "make bench   install PyTorch, run every benchmark, write benchmarks/RESULTS.md"
	@echo "make clean   delete environments and caches; runs and records stay"

# The stamps are newer than the requirements that they stand for, so a second call installs nothing.
$(VENV)/stamp-run: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	  f"fatk needs Python 3.11 to 3.13; this is {v[0]}.{v[1]}. Try: make PYTHON=python3.12 demo")'
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/stamp-dev: requirements-dev.txt $(VENV)/stamp-run
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $@

demo: $(VENV)/stamp-run
	$(BIN)/python -m fatk.train --config fatk/configs/demo.toml --overwrite

lint: $(VENV)/stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/stamp-dev
	$(BIN)/mypy

test: lint types
	$(BIN)/pytest -n 2 --dist loadfile
	KERAS_BACKEND=tensorflow $(BIN)/pytest tests/test_fatk_checkpoint.py

# Older packages by necessity, so apart from the rest: see requirements-tfio.txt.
$(TFIO)/stamp: requirements-tfio.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v == (3, 11) else \
	  f"the set with tensorflow-io is for Python 3.11; this is {v[0]}.{v[1]}. Try: make PYTHON=python3.11 test-tfio")'
	@test -d $(TFIO) || $(PYTHON) -m venv $(TFIO)
	$(TFIO)/bin/pip install --quiet --no-compile --disable-pip-version-check -r requirements-tfio.txt
	@touch $@

test-tfio: $(TFIO)/stamp
	$(TFIO)/bin/python -m pytest -p no:cacheprovider tests_tfio

# Ten kills of a run of twelve epochs; `make test` has a smaller one.
test-kill: $(VENV)/stamp-dev
	FATK_KILLS=10 $(BIN)/pytest tests/test_fatk_killed.py

quick: $(VENV)/stamp-dev
	$(BIN)/pytest -m "not slow"

# PyTorch is a peer to measure against, and nothing else.
bench: $(VENV)/stamp-dev
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m benchmarks.run_all

# The exact set that passed, for the newest Python that was tried.
constraints: $(VENV)/stamp-dev
	$(BIN)/pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf $(VENV) .venv-* .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
