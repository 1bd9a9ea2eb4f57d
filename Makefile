# The commands of the README, for a machine with Python 3.11+ and make. pixi has the same commands as tasks.
PYTHON  ?= python3
PROFILE ?= local
SCALE   ?= laptop
FROM    ?=
REPLICATE ?=
ADVISORIES ?=
PAPERS  ?=
CONFIG  ?=
CORES   ?=
POINT   ?=
METHODS ?= svrpo,meta,v_trpo,ppo
VERBOSE ?=
A       ?= published/$(SCALE)
B       ?= results/$(SCALE)
IMAGES  ?= $(if $(findstring gpu,$(PROFILE)),$(GPU_IMAGES))
RELEASE ?=
ADD     ?=
export BASE
GPU_IMAGES := light,rl,llm-cuda
BIN     := .venv/bin
# Check a settings file before Snakemake loads it: nested YAML merges can occupy its loader for hours.
OWN       = $(if $(CONFIG),$(BIN)/python -m septet check $(call quoted,$(CONFIG)) && )
SNAKEMAKE = $(OWN)$(BIN)/snakemake --profile profiles/$(PROFILE)$(if $(VERBOSE),, --logger septet)$(if $(CONFIG), --configfile $(call quoted,$(CONFIG)))
# Quote any text for the shell.
quoted    = '$(subst ','\'',$(1))'
PREFLIGHT = $(if $(filter-out local,$(PROFILE)),$(BIN)/python tools/preflight.py --profile profiles/$(PROFILE)$(if $(CONFIG), --configfile $(call quoted,$(CONFIG))) --config)
LIMITED   = $(if $(strip $(PROCESSOR)), processor=$(PROCESSOR))
NAMED     = $(if $(strip $(PAPERS)), $(call quoted,papers=$(PAPERS)))$(LIMITED)
comma     := ,
space     := $(subst ,, )
LISTED    = $(subst $(space),$(comma),$(strip $(subst $(comma),$(space),$(PAPERS))))
FINISHED  = results: results/$(SCALE)$(comma) papers: [$(LISTED)]
CHOSEN    = scale=$(SCALE)$(NAMED)

# Wrong usage ends here in one line, before anything is installed or built.
known     = $(if $(filter $(2),$(3)),,$(error $(1): expected one of $(3), found $(or $(2),nothing)))
$(call known,PROFILE,$(PROFILE),$(patsubst profiles/%/profile.yaml,%,$(wildcard profiles/*/profile.yaml)))
$(call known,SCALE,$(SCALE),$(patsubst config/scale/%.yaml,%,$(wildcard config/scale/*.yaml)))
$(if $(PROCESSOR),$(call known,PROCESSOR,$(PROCESSOR),portable compatible native))
$(foreach one,$(subst [, ,$(subst ], ,$(subst $(comma),$(space),$(PAPERS)))),$(call known,PAPERS,$(one),$(patsubst config/papers/%.yaml,%,$(wildcard config/papers/*.yaml))))
$(if $(filter new-paper,$(MAKECMDGOALS)),$(if $(strip $(ID)),,$(error ID: expected the name of the new paper: make new-paper ID=name, found nothing)))

.DEFAULT_GOAL := help
.DEFAULT:
	@$(PYTHON) -c 'import difflib, sys; near = difflib.get_close_matches(sys.argv[1], sys.argv[2].split()); sys.exit(f"make: no target {sys.argv[1]}" + (f"; did you mean {near[0]}?" if near else "; make help lists them"))' '$@' '$(shell sed -nE "s/^([a-z_-]+):.*\#\# .*/\1/p" Makefile)'
.PHONY: help setup setup-dev models reproduce validate empg_real smoke figures videos verdicts plan status queue live trace track compare publish bench config test check lock coverage test-nightly drill audit licences containers recover cluster-demo test-machines docs new-paper clean clean-venv environment environment-dev

help:  ## list the targets
	@grep -hE '^[a-z_-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z_-]+):[^#]*## /  make \1\t/' | expand -t 22

setup: environment $(if $(filter-out local,$(PROFILE)),containers)  ## create .venv with the pinned packages and ours (editable)

setup-dev: environment-dev  ## setup, plus the packages for tests, checks and benches

# tools/setup.py checks whether .venv is complete. It runs on .venv's own Python, so PYTHON is needed only once.
SET_UP = @$(if $(shell $(BIN)/python -ISc 'print(1)' 2>/dev/null),$(BIN)/python,$(PYTHON)) -IS tools/setup.py \
	$(if $(filter command%,$(origin PYTHON)),--python,--otherwise) "$(PYTHON)"
environment:
	$(SET_UP)
environment-dev:
	$(SET_UP) dev

models: setup  ## download the language models of SCALE: 93 MB at laptop, 580 MB at overnight
	$(BIN)/python -m septet.empg.fetch config/scale/$(SCALE).yaml .cache

containers: environment  ## build the images of container profiles (IMAGES=light,rl,llm RELEASE=1 BASE=docker)
	$(BIN)/snakemake --profile profiles/local$(if $(IMAGES), --config images='[$(IMAGES)]') -- containers$(if $(RELEASE),_release)

reproduce: setup  ## run everything: training, verdicts, figures, report (SCALE=laptop PROFILE=local PAPERS= CONFIG=)
	$(if $(PREFLIGHT),$(PREFLIGHT) $(CHOSEN))
	$(SNAKEMAKE) --config $(CHOSEN)
	$(BIN)/python -m septet.report show results/$(SCALE)

validate: setup-dev  ## compare our PPO, TRPO and DDPG with Stable-Baselines3
	$(if $(PREFLIGHT),$(PREFLIGHT) scale=$(SCALE) papers='[rl]' -- rl)
	$(SNAKEMAKE) --config scale=$(SCALE) papers='[rl]' -- rl
	$(BIN)/python -m septet.report show results/$(SCALE)/rl

empg_real: models  ## train a real language model, SmolLM2-135M-Instruct, with reinforcement learning
	$(if $(PREFLIGHT),$(PREFLIGHT) scale=$(SCALE) papers='[empgreal]'$(LIMITED) -- empgreal)
	$(SNAKEMAKE) --config scale=$(SCALE) papers='[empgreal]'$(LIMITED) -- empgreal
	$(BIN)/python -m septet.report show results/$(SCALE)/empgreal

smoke: setup  ## run every rule at a tiny scale, in a few minutes
	$(if $(PREFLIGHT),$(PREFLIGHT) scale=smoke$(NAMED))
	$(SNAKEMAKE) --config scale=smoke$(NAMED)
	$(BIN)/python -m septet.report show results/smoke

recover: setup  ## after a killed run: stop its leftover jobs, unlock and resume (PROFILE, SCALE, PAPERS)
	$(BIN)/python tools/recover.py --profile profiles/$(PROFILE)
	$(SNAKEMAKE) --config $(CHOSEN) --unlock
	$(SNAKEMAKE) --config $(CHOSEN)
	$(BIN)/python -m septet.report show results/$(SCALE)

cluster-demo: setup  ## run scale smoke with profiles/slurm on a test cluster on this machine (tools/install-slurm.sh)
	$(BIN)/python tests/cluster/demo.py
	$(BIN)/python -m septet.report show results/smoke

figures: setup  ## redraw figures and page from published/, or FROM=DIR, beside REPLICATE=results/laptop, without training
	$(SNAKEMAKE) --config $(call quoted,adopt="$(or $(FROM),published)")$(if $(REPLICATE), $(call quoted,replicate="$(REPLICATE)"))$(NAMED) -- figures
	$(BIN)/python -m septet.report show results/published --source $(call quoted,$(or $(FROM),published))

videos: setup  ## film a published policy per task and show it on the page of make figures (FROM=published METHODS=)
	$(BIN)/python -m septet.rl videos $(call quoted,$(or $(FROM),published)) --out results/published/report/videos --methods $(call quoted,$(METHODS))
	$(SNAKEMAKE) --config $(call quoted,adopt="$(or $(FROM),published)")$(NAMED) -- figures

verdicts: setup  ## every claim with its verdict, in the terminal (SCALE=laptop)
	$(BIN)/python -m septet.report show --all results/$(SCALE)

plan: setup  ## estimate the cost of a run before it is submitted (SCALE=paper CORES=64)
	$(BIN)/python tools/jobs.py --profile profiles/$(PROFILE)$(if $(CONFIG), --configfile $(call quoted,$(CONFIG))) --config $(CHOSEN) | $(BIN)/python -m septet.ops plan --out results/$(SCALE)$(if $(CORES), --cores $(CORES))

status: setup  ## show the progress of running jobs
	$(BIN)/python -m septet status results

queue:  ## list your SLURM jobs with paper, method and task
	squeue --me --format "%.10i %.2t %.10M %.12l %.20R %k"

live: setup  ## follow running jobs with W&B, from a separate process
	$(BIN)/python -m septet.ops live results/$(SCALE)

trace: setup  ## trace a point to its run: POINT=RUN[/METRIC[/SEED[/STEP]]] or FIGURE/PAPER/METHOD/TASK/SEED
	$(BIN)/python -m septet.ops trace results/$(SCALE) published/overnight published/laptop$(if $(POINT), '$(POINT)')

track: setup  ## export scores and run cards of a finished run for W&B and TensorBoard
	echo $(call quoted,{$(FINISHED)}) | $(BIN)/python -m septet.ops track --config - --out results/$(SCALE)/tracking

compare: setup  ## compare two runs: which verdicts and numbers moved from A=published/laptop to B=results/laptop
	$(BIN)/python -m septet.ops compare $(A) $(B) --json results/compare.json

publish: setup  ## copy the scores and run cards of a finished run to published/ (ADD=1 keeps what it did not run)
	echo $(call quoted,{$(FINISHED)$(if $(ADD),$(comma) add: true)}) | $(BIN)/python -m septet.ops publish --config - --out published/$(SCALE)

bench: setup-dev  ## compare the speed of every package with its peers; writes published/bench/
	$(BIN)/python tools/bench.py

config: setup  ## write the default configuration in config/ from the typed models
	$(BIN)/python -m septet config .

docs: setup-dev figures  ## build the documentation in site/: open site/index.html, or serve the folder to search it
	$(BIN)/python -m mkdocs build --strict --quiet

new-paper: setup-dev  ## create a working skeleton for another paper, ID=name (docs/add-a-paper.md)
	$(BIN)/python tools/new_paper.py "$(ID)"

check: setup-dev  ## run lint, format, types, import contract, workflow lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

test: check  ## run check, then the test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

coverage: setup-dev  ## measure the error rates of verdicts; writes docs/coverage.md and docs/verdict-changes.md
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m septet.report.coverage docs/coverage.md
	$(BIN)/python tools/verdict_changes.py

test-nightly: setup-dev  ## run the long tests: 20 killed runs of each training verb, large plans, more fuzzing
	FUZZ=400 $(BIN)/python -m pytest -m nightly
	FUZZ=400 $(BIN)/python -m pytest tests/safety/test_readers.py

drill: setup-dev  ## kill training jobs at random moments and restart them; prints a table
	$(BIN)/python tests/resume/drill.py --processes

audit: setup-dev  ## check the locks against known advisories (ADVISORIES=a clone of github.com/pypa/advisory-database)
	$(BIN)/python tools/audit.py$(if $(ADVISORIES), --advisories $(ADVISORIES))

licences: setup-dev  ## write docs/licences.md: the licence of each locked distribution and data set
	$(BIN)/python tools/licences.py
test-machines: setup-dev containers  ## run the tests that need Apptainer, SLURM and QEMU
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'containers or cluster or emulator'

lock:  ## resolve requirements.in and requirements-dev.in again, in a fresh environment
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet -r requirements.in
	.venv-lock/bin/python -m pip freeze --all | sed '/^pip==/d; s/+cpu$$//' > requirements.lock
	.venv-lock/bin/python -m pip install --quiet -c requirements.lock -r requirements-dev.in
	.venv-lock/bin/python -m pip freeze --all | sed '/^pip==/d; s/+cpu$$//' | grep -vxFf requirements.lock > requirements-dev.lock
	.venv-lock/bin/python containers/locks.py
	rm -rf .venv-lock
	$(PYTHON) tools/pixi_pins.py

clean:  ## remove results, logs and caches; keeps .venv (make clean-venv) and published/
	rm -rf results site logs benchmarks .cache .snakemake .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

clean-venv:  ## remove .venv; the next make creates it again
	rm -rf .venv
