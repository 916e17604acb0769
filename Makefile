# askGuru-SQL. The two commands: make book, make test.
# GNU make 3.81 or newer (the one that macOS ships).

PROFILE ?= tiny
FROM    ?=
JOBS    ?= 1
ENGINE  ?= auto
RUNS    ?= runs
PYTHON  ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || echo python3)

VENV := .venv
BIN  := $(VENV)/bin
PY   := $(BIN)/python
DONE := $(VENV)/.installed
OUT  := $(RUNS)/$(PROFILE)/notebooks

# A notebook is run again when its code, the parameters, or what it stands on (library, base model, lock file) has
# changed. These files hold the hashes; they are rewritten only when a hash changes, so file times of a clone, of a
# checkout or of an edit to the prose do not matter.
HASHES   := $(OUT)/.hashes
CHAPTERS := $(sort $(notdir $(wildcard notebooks/[0-9][0-9]_*.ipynb)))

# FROM=07: the chapters before it are taken as they are, 07 and the later ones run whatever their age.
START    := $(if $(filter 1 2 3 4 5 6 7 8 9,$(FROM)),0$(FROM),$(FROM))
ifneq ($(START),)
ifeq ($(filter $(START)_%,$(CHAPTERS)),)
$(error FROM=$(FROM): there is no notebooks/$(START)_*.ipynb)
endif
endif
LATER    := $(if $(START),$(shell for c in $(CHAPTERS); do [ "$${c%%_*}" \< "$(START)" ] || echo $$c; done),$(CHAPTERS))
EXECUTED := $(LATER:%=$(OUT)/%)

# chapter:the chapter whose results it reads
NEEDS := 02:01 03:02 04:03 05:03 06:05 07:06 10:07 11:10 12:11 13:12

.PHONY: help setup book run notebooks test test-fast lint types unit nbval lab bench refresh lock clean
.DELETE_ON_ERROR:

help:
	@echo "make book                        run every notebook, render the book to _book/"
	@echo "make test                        lint, types, unit tests, notebooks under nbval"
	@echo "make test-fast                   the part of it that takes about two minutes"
	@echo "make run PROFILE=tiny [FROM=07]  run the notebooks with params/tiny.yaml [from chapter 07 on]"
	@echo "make lab                         JupyterLab"
	@echo "make bench                       benchmarks"
	@echo "make refresh                     store the outputs of the last run in notebooks/"
	@echo "make lock                        write requirements.lock anew from pyproject.toml"
	@echo "make clean                       remove runs/, _book/ and caches"

setup: $(DONE)

$(DONE): requirements.lock pyproject.toml
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; remove $(VENV) and name one: make setup PYTHON=python3.11"; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup
	@$(PY) -m askguru_lib.chapters hash --profile $(PROFILE) $(HASHES)
	@$(MAKE) --no-print-directory -j $(JOBS) notebooks

notebooks: $(EXECUTED)

ifneq ($(FROM),)
$(EXECUTED): FORCE
endif
chapter = $(filter $(1)_%,$(LATER))
$(foreach pair,$(NEEDS),$(foreach need,$(call chapter,$(word 2,$(subst :, ,$(pair)))),$(foreach \
  this,$(call chapter,$(firstword $(subst :, ,$(pair)))),$(eval $(OUT)/$(this): $(OUT)/$(need)))))

ifneq ($(EXECUTED),)
$(EXECUTED): $(OUT)/%.ipynb: $(HASHES)/%.ipynb $(HASHES)/parameters $(HASHES)/foundation
	@ASKGURU_RUNS=$(RUNS) $(PY) -m askguru_lib.chapters run --profile $(PROFILE) notebooks/$*.ipynb $@
endif

FORCE:

# Quarto where it is installed, otherwise the same chapters through nbconvert.
book: run
	@$(PY) book/build.py --executed $(OUT) --out _book --engine $(ENGINE)

test: lint types unit nbval

# Two processes of one thread each: with two threads each they would wait for one another. Types are checked beside them.
test-fast: lint
	@$(PY) -m mypy & types=$$!; \
	  OMP_NUM_THREADS=1 $(PY) -m pytest -m "not slow" -n 2; tests=$$?; wait $$types && exit $$tests

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: setup
	$(PY) -m mypy

unit: setup
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2

# In chapter order, in one process: each notebook finds what the earlier ones made under runs/check/. The parameters of
# the stored outputs would take an hour longer on a CPU without 16-bit products; data and prompts are the same.
nbval: setup
	ASKGURU_PROFILE=$${ASKGURU_PROFILE:-check} $(PY) -m pytest --nbval-lax --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg \
	  --nbval-cell-timeout 1800 $(CHAPTERS:%=notebooks/%)

lab: setup
	$(BIN)/jupyter lab

bench: setup
	@for script in benchmarks/bench_*.py; do $(PY) $$script || exit 1; done

refresh: PROFILE = tiny
refresh: run
	$(PY) -m askguru_lib.chapters refresh --profile $(PROFILE) $(OUT) notebooks

# Keeps the pins that still fit. torch brings its own CUDA wheels where it needs them; a CPU build needs none.
lock: setup
	@cp requirements.lock $(VENV)/lock.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-annotate --no-header \
	  --quiet --output-file $(VENV)/lock.txt
	( echo "# Written by 'make lock' from pyproject.toml: do not edit."; \
	  grep -vE '^(nvidia-|cuda-|triton)' $(VENV)/lock.txt | sed -e "s/python_full_version < '3.14' and //" \
	    -e "s/ and (sys_platform == 'darwin' or sys_platform == 'linux')//" \
	    -e "s/ ; (sys_platform == 'darwin' or sys_platform == 'linux')$$//" ) > requirements.lock
	@rm $(VENV)/lock.txt

clean:
	rm -rf $(RUNS) _book .quarto .pytest_cache .ruff_cache .mypy_cache .hypothesis
