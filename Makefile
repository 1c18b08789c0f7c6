# The book's targets; `make` alone lists them. VENV and PYTHON may be set: make book VENV=elsewhere PYTHON=python3.12
VENV ?= .venv
PYTHON ?= python3
JOBS ?=
PORT ?= 8000
BIN = $(VENV)/bin
READY = $(VENV)/.hierlib-ready
PIP = $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help book check test run list serve zip pdf lint format lock clean

help: ## these lines
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: $(READY) ## run the chapters that have changed and build the site (JOBS=n: so many side by side)
	@$(BIN)/hierlib build $(if $(JOBS),--jobs $(JOBS))

check: lint ## lint, types and the library's tests, without building the book: what to run before a commit
	@$(BIN)/python -m pytest -m 'not book and not slow' --ignore=hierlib/book -n $(or $(JOBS),auto) --maxprocesses 8 --dist worksteal

test: $(READY) book ## the whole test suite, the site in a browser included
	@$(BIN)/python -m pytest -n $(or $(JOBS),auto) --maxprocesses 8 --dist worksteal

run: $(READY) ## one chapter with other parameters: make run CH=half-way-and-back P="m=4 seed=1" OUT=folder
	@test -n "$(CH)" || { $(BIN)/hierlib list; echo 'Say which: make run CH=half-way-and-back P="m=4"'; exit 2; }
	@set -f --; for p in $(P); do set -- "$$@" -p "$$p"; done; $(BIN)/hierlib run $(CH) "$$@" $(if $(OUT),--out '$(OUT)')

list: $(READY) ## the chapters, and the parameters that each takes
	@$(BIN)/hierlib list

serve: book ## the site on this machine, at http://localhost:8000 (PORT=n)
	@$(BIN)/python -m http.server --bind localhost --directory _build/html $(PORT)

zip: book ## the site as one archive in dist/
	@$(BIN)/hierlib zip

pdf: book ## the book as one PDF in dist/ (needs Chromium)
	@$(BIN)/hierlib pdf

lint: $(READY) ## ruff on the library, the tests and the chapters' code, mypy on the library
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m hierlib.book.site.lint
	@$(BIN)/mypy

format: $(READY) ## what lint can put right by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## write requirements.lock anew from pyproject.toml, in a fresh environment; torch and what is of macOS stay
	@rm -rf _build/lock && mkdir -p _build && $(PYTHON) -m venv _build/lock
	@_build/lock/bin/python -m pip install -q '.[book,test,cluster]' $$(grep -E '^torch(vision)?==' requirements.lock)
	@_build/lock/bin/python -m pip freeze --all --exclude hierlib --exclude pip > _build/lock/frozen
	@{ grep -v -i '^nvidia\|^triton\|^cuda-' _build/lock/frozen | sed 's/+[a-z0-9.]*$$//'; \
	   grep '; sys_platform == ' requirements.lock; } | LC_ALL=C sort -f > _build/lock/sorted
	@grep -q '^torch==' _build/lock/sorted || { echo 'What was frozen has no torch; requirements.lock stays.'; exit 1; }
	@{ sed -n '/^#/p' requirements.lock; cat _build/lock/sorted; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock && rm -rf _build/lock

clean: ## remove what was built; the environment stays
	@rm -rf _build dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'The book needs Python 3.11 or newer; say where it is: make book PYTHON=python3.12'; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing requirements.lock into $(VENV); the first time this takes minutes.'
	@$(PIP) install -q -r requirements.lock
	@$(PIP) install -q --no-deps -e .
	@touch $@
