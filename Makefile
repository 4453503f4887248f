# make demo: install, train on real digits, leave pictures.   make test: every test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(wildcard plugins/*)

.PHONY: demo test lint bench matrix zoo examples docs clean

$(BIN)/vaezoo: pyproject.toml constraints.txt $(PLUGINS:=/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]' $(addprefix --editable ,$(PLUGINS))
	touch $@

demo: $(BIN)/vaezoo
	$(BIN)/vaezoo run examples/demo.yaml

test: $(BIN)/vaezoo
	$(BIN)/pytest -n 2

lint: $(BIN)/vaezoo
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

examples: $(BIN)/vaezoo
	$(BIN)/pytest -n 2 tests/test_examples.py

docs: $(BIN)/vaezoo
	$(BIN)/python docs/generate.py

bench: $(BIN)/vaezoo
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/loading.py

matrix: $(BIN)/vaezoo
	$(BIN)/python benchmarks/matrix.py --record
	$(BIN)/python docs/generate.py

zoo: $(BIN)/vaezoo
	$(BIN)/pip install --quiet --constraint constraints.txt --editable 'plugins/vaezoo-vrae[cities,series]'
	$(BIN)/python benchmarks/zoo.py

clean:
	rm -rf $(VENV) runs dist build
