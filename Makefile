PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A worker takes about 2 GB; the tests of a file share what they load. Files come in the order of
# their names, so that those of processes, which take longest, are not left for the end.
TOGETHER := -q -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: demo quick test lint format docs test-matrix clean

demo: $(READY)
	$(BIN)/librehps score examples/media --model tiny --table \
		--prompt "a red circle left of a blue square"

# The tests of a few seconds each: what to run between two edits.
quick: $(READY)
	$(BIN)/python -m pytest $(TOGETHER) -m "not slow" tests/unit tests/cli

test: lint
	$(BIN)/python -m pytest $(TOGETHER) --durations=15

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The outputs of the README's commands, the reference of the commands, and the pictures.
docs: $(READY)
	$(BIN)/python tools/readme.py
	$(BIN)/python tools/pictures.py

# The golden tests on every Python and transformers that we support; needs those interpreters.
test-matrix:
	$(PYTHON) tools/matrix.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "librehps needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) dist build
