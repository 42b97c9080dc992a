# Two commands are all a newcomer needs: `make demo` and `make test`. Both install what they need into .venv first.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=
ONLY   ?=
# Most tests wait for a server or a time-out of their own: twice as many at once as there are cores.
JOBS   ?= $(shell echo $$((2 * $$(nproc))))

.PHONY: setup demo test lint bench soak browser cluster faults hosts registry clean

setup: $(STAMP)

$(STAMP): pyproject.toml dashboards/package-lock.json
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[agent,server,dev]'
	$(BIN)/python dashboards/build_assets.py --install-node
	touch $@

demo: setup
	@exec $(BIN)/shopfloor demo $(ARGS)

test: setup
	$(BIN)/python -m pytest -q -n $(JOBS) $(ARGS)

soak: setup
	$(BIN)/python -m pytest -q -n $$(nproc) -m soak $(ARGS)

browser: setup
	$(BIN)/python -m pytest -q -m browser $(ARGS)

cluster: setup
	$(BIN)/python -m pytest -q -m cluster $(ARGS)

faults: setup
	$(BIN)/python -m bench.faults $(ARGS)

hosts: setup
	$(BIN)/python -m pytest -q -m hosts $(ARGS)

registry: setup
	$(BIN)/python -m pytest -q -m registry $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

clean:
	rm -rf $(VENV) dashboards/node_modules dashboards/static/vendor bench/results.json
