# make help lists what there is. Needs Python 3.11 or newer, make and git; nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STUDIES := brain_mri em histology angiography demos methods
export JUPYTER_PLATFORM_DIRS := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lab lint clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## create .venv and install everything, pinned

$(STAMP): requirements.lock pyproject.toml
	@echo "[1/4] creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "[2/4] installing torch (a few hundred MB; several GB with CUDA)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@echo "[3/4] installing the pinned and hashed rest (requirements.lock)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@echo "[4/4] installing mtl itself"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check > /dev/null || $(BIN)/python -m pip check
	@touch $@

demo: $(STAMP) ## run the quick notebooks on embedded phantoms -> outputs/index.html
	@$(BIN)/mtl run $(STUDIES) --params quick
	@echo "Open outputs/index.html in a browser."

test: $(STAMP) ## lint, contracts, unit tests, notebooks at smoke size (under 10 minutes)
	@$(BIN)/ruff check .
	@$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadscope --no-loadscope-reorder \
		-m "not slow and not real_data and not browser"

test-slow: $(STAMP) ## kills, real data, browsers, several processes
	@$(BIN)/python -m pytest -m "slow or real_data or browser"

lint: $(STAMP) ## ruff with fixes
	@$(BIN)/ruff check --fix .

lab: $(STAMP) ## open the notebooks in JupyterLab
	@JUPYTER_CONFIG_PATH=$(CURDIR)/mtl/interactive/jupyter/config $(BIN)/jupyter lab notebooks

clean: ## remove .venv and caches (outputs stay)
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
