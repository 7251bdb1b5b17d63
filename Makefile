# What a newcomer needs: make run, make test. Everything installs itself from the lock file into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: run test check bench lock docs clean

run: $(INSTALLED)
	@$(BIN)/tocsin serve --try $(ARGS)

# Some hundred processes are started: without bytecode each would compile all sources anew. In the order of the folders,
# since those come first whose single files take longest.
test: export PYTHONDONTWRITEBYTECODE =
test: $(INSTALLED)
	@$(BIN)/pytest -q -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(INSTALLED)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/generate_lifecycle.py --check
	@$(BIN)/python docs/generate_settings.py --check
	@$(BIN)/python docs/generate_cli.py --check

bench: $(INSTALLED)
	@$(BIN)/python -m bench $(ARGS)

docs: $(INSTALLED)
	@$(BIN)/python docs/generate_lifecycle.py
	@$(BIN)/python docs/generate_settings.py
	@$(BIN)/python docs/generate_cli.py

# The lock file holds versions and hashes, and no address to download from.
lock: $(INSTALLED)
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --group dev \
		pyproject.toml -o requirements.lock

$(INSTALLED): pyproject.toml requirements.lock
	@echo "Installing into $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
