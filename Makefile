# make demo   a counting network searched, retrained, evaluated and drawn, in minutes
# make test   linters, types and tests
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test
demo: .venv/.ready
	rm -rf runs/demo
	$(BIN)/nni-count demo --out runs/demo

test: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

.venv/.ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@
