# make demo        an agent learns a text adventure, with and without memory side by side
# make test        every test that needs no story file, no PyTorch, browser or server
# make test-local  those of local language models: installs PyTorch
# make test-web    those of web tasks, in a real Chromium: installs BrowserGym
# make test-ray    those of studies on a cluster: installs Ray
# make test-all    those that need story files: JITRL_GAMES=FOLDER make test-all
# make check       lint, types, import arrows
#
# Each sets up what it needs in $(VENV) first; PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo test test-local test-web test-ray test-all check format clean

$(VENV)/.ready: pyproject.toml constraints.txt scripts/setup
	PYTHON="$(PYTHON)" scripts/setup "$(VENV)"

$(VENV)/.local: $(VENV)/.ready
	scripts/setup "$(VENV)" local

$(VENV)/.web: $(VENV)/.ready
	scripts/setup "$(VENV)" web

$(VENV)/.ray: $(VENV)/.ready
	scripts/setup "$(VENV)" ray

setup: $(VENV)/.ready

demo: setup
	$(BIN)/jitrl demo $(DEMO)

test: setup
	$(BIN)/pytest -q -n 2 tests/unit $(PYTEST)

test-local: $(VENV)/.local
	$(BIN)/pytest -q tests/local $(PYTEST)

test-web: $(VENV)/.web
	$(BIN)/pytest -q -n 2 tests/web $(PYTEST)

test-ray: $(VENV)/.ray
	$(BIN)/pytest -q tests/cluster $(PYTEST)

test-all: setup
	$(BIN)/pytest -q -n 2 tests/stories $(PYTEST)

check: $(VENV)/.local $(VENV)/.web
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>&1

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)
