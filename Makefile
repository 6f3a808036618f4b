# Every target works on a fresh clone: it makes .venv and installs what it needs first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A folder of data sets in the layout of BEIR, for `make site`.
CORPORA ?= benchmarks/corpora

.PHONY: demo site test check format lint types bench docs clean

demo: $(VENV)/demo  ## the whole job on the built-in data set, offline
	$(BIN)/arena demo

site: $(VENV)/demo  ## sites of the demo and, with CORPORA=folder, of its corpora: in build/site
	OPENAI_API_KEY= OPENAI_BASE_URL= $(BIN)/arena demo --quiet
	$(BIN)/arena report arena-demo/runs/demo --out build/site/demo
	@if [ -d "$(CORPORA)" ]; then \
		mkdir -p build/contenders && \
		sed 's|path = "corpora/|path = "$(abspath $(CORPORA))/|' benchmarks/contenders.toml \
			> build/contenders/arena.toml && \
		$(BIN)/arena battle build/contenders/arena.toml --quiet && \
		$(BIN)/arena report build/contenders/runs/contenders --out build/site/contenders; \
	else \
		echo "only the demo's site: give a folder with msmarco, dbpedia and arcd as CORPORA=folder"; \
	fi

test: $(VENV)/test  ## all tests
	$(BIN)/pytest -n 3 --dist loadgroup

check: lint types test  ## what has to pass before a change lands

format: $(VENV)/test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/test
	$(BIN)/mypy

bench: $(VENV)/test  ## benchmarks; their results are in docs/benchmarks.md
	$(BIN)/python benchmarks/ratings.py
	$(BIN)/python benchmarks/rating_speed.py
	$(BIN)/python benchmarks/retrieval.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/kill.py
	$(BIN)/python benchmarks/stopping.py
	$(BIN)/python benchmarks/site.py

docs: $(VENV)/test  ## docs/commands.md from the commands' own help
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "arena needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[demo]"
	@touch $@

$(VENV)/test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	@touch $@ $(VENV)/demo
