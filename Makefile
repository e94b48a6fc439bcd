PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint format docs test-matrix clean

demo: $(READY)
	$(BIN)/librehps score examples/media --model tiny --table \
		--prompt "a red circle left of a blue square"

test: lint
	$(BIN)/python -m pytest --durations=15

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
