# Two commands: `make demo` shows the whole flow, `make test` runs the tests. Both set up .venv in this folder first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
SMOKE := smoke

.PHONY: demo test lint trial endurance smoke clean

demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/python -m pipelines.demo --output $(DEMO)

test: $(VENV)/.installed
	$(BIN)/python -m pytest

# Takes minutes more; real recordings are used where SOUNDMILL_DATA names their folder.
trial: $(VENV)/.installed
	$(BIN)/python -m pytest -n 0 -m trial

# The cache under many kills, many histories and runs at once: more of what `make test` and `make trial` do in short, some ten minutes.
endurance: $(VENV)/.installed
	$(BIN)/python -m pytest -n 0 -m endurance

# Runs each benchmark on few clips, to see that it runs; the figures mean nothing. Needs SOUNDMILL_DATA.
smoke: $(VENV)/.installed
	rm -rf $(SMOKE)
	$(BIN)/python benchmarks/featurize.py --clips 300 --turns 1 --output $(SMOKE)
	$(BIN)/python benchmarks/score.py --clips 300 --turns 1 --output $(SMOKE)
	$(BIN)/python benchmarks/train_input.py --clips 300 --turns 1 --output $(SMOKE)
	$(BIN)/python benchmarks/memory.py --clips 3000 --output $(SMOKE)
	rm -rf $(SMOKE)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The compatible mode puts this folder on the path, so that a folder named features/ where a command is run hides nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("soundmill needs Python 3.11 or newer, not " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		--config-settings editable_mode=compat -e '.[test,demo]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) $(SMOKE) .pytest_cache .ruff_cache .mypy_cache .hypothesis
