# make demo: install, train on real digits, leave pictures.   make test: every test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench examples docs clean

$(BIN)/vaezoo: pyproject.toml constraints.txt plugins/vaezoo-mnist/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]' --editable plugins/vaezoo-mnist
	touch $@

demo: $(BIN)/vaezoo
	$(BIN)/vaezoo run examples/demo.yaml

test: $(BIN)/vaezoo
	$(BIN)/pytest

lint: $(BIN)/vaezoo
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

examples: $(BIN)/vaezoo
	for spec in examples/*.yaml; do $(BIN)/vaezoo run $$spec --dry-run > /dev/null || exit 1; done

docs: $(BIN)/vaezoo
	$(BIN)/python docs/generate.py

bench: $(BIN)/vaezoo
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/speed.py

clean:
	rm -rf $(VENV) runs dist build
