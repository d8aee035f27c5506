# Sets up what it needs, then does what it is asked; running a target again repeats no finished step.
# Needs bash, a Python from 3.11 to 3.13 and a package index. Root on Debian or Ubuntu is used, where it is
# there, to install python3-venv and Java 17; without it the missing piece is named with the line to run.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(shell tools/python.sh)
VENV ?= .venv
# Never the same environment: Airflow's Spark provider brings pyspark-client, which overwrites pyspark's files.
AIRFLOW_VENV ?= .venv-airflow
# Of the examples: what they use, a feature store among it, has pins of its own.
CONSUMERS_VENV ?= .venv-consumers
# Of the benchmarks: the pipeline and its peers.
BENCH_VENV ?= .venv-bench
# Other versions of Spark, which slow tests compare with the one of the pins.
SPARKS := spark35 spark41
BUILD ?= build
DEMO := $(BUILD)/demo
BUNDLE := $(BUILD)/bundle
SAMPLE := examples/sample/config.toml
DEMO_PACKAGES := vim nginx gimp python3-numpy texlive-base r-base-core postgresql-15 octave

# pip's pins for the interpreter of environment $(1); $(2) is the set's prefix.
pins = constraints/$(2)py$$($(1)/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
PIP := -m pip --disable-pip-version-check install --quiet
# Two to four processes share the tests, by files.
SHARED := -n logical --maxprocesses 4 --dist loadfile
# What is listed (in REQUIRE=spark,airflow,data) fails where it is missing, instead of being skipped.
required = [[ ",$${REQUIRE:-}," == *,$(1),* ]]

.PHONY: help demo test lint bench bundle airflow airflow-demo consumers sparks $(SPARKS) java clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(VENV)/.warm  ## embed the bundled Debian package graph, publish, print the neighbours of known packages
	$(VENV)/bin/graphquilt run --config $(SAMPLE) --workspace $(DEMO)
	@$(VENV)/bin/python examples/consumers/neighbors.py $(DEMO)/published/debian $(DEMO_PACKAGES)

# The Airflow tests come first so that the last line is the summary of the main ones.
test: lint  ## lint, then the tests this machine can run; SLOW=1 adds the slow ones, REQUIRE=... forbids skipping
	@if home=$$(tools/java.sh); then export JAVA_HOME=$$home; fi; \
	if $(MAKE) --no-print-directory airflow; then \
	    MAIN_PYTHON=$(abspath $(VENV))/bin/python $(AIRFLOW_VENV)/bin/python -m pytest tests/dags $(if $(SLOW),,-m 'not slow'); \
	    without=--ignore=tests/dags; \
	elif $(call required,airflow); then \
	    echo "make: REQUIRE=$$REQUIRE, but there is no Airflow environment" >&2; exit 1; \
	else \
	    echo "make: no Airflow environment; its tests are skipped" >&2; without=; \
	fi; \
	$(if $(SLOW),if $(MAKE) --no-print-directory consumers; then \
	    $(CONSUMERS_VENV)/bin/python -m pytest tests/consumers; \
	else \
	    echo "make: no environment of the examples; their tests are skipped" >&2; \
	fi;) \
	$(if $(SLOW),$(MAKE) --no-print-directory sparks || echo "make: an environment of another Spark is missing; its tests are skipped" >&2;) \
	$(VENV)/bin/python -m pytest $(SHARED) $$without $(if $(SLOW),,-m 'not slow')

lint: $(VENV)/.warm  ## ruff, mypy, hadolint, and the import check
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/hadolint Dockerfile

airflow: $(AIRFLOW_VENV)/.installed  ## the Airflow environment, for the DAG and its tests

airflow-demo: airflow $(VENV)/.warm  ## Airflow in a browser, on nights of the sample; PORT=8080 is its page
	@tools/airflow_demo.sh $(VENV) $(AIRFLOW_VENV) $(BUILD)/airflow

consumers: $(CONSUMERS_VENV)/.installed  ## the environment of the examples: indexes, databases, a feature store, a ranker

# FastRP at both sizes: make bench WHAT='--cases fastrp --repeat 3'. Whole jobs up to 200 M edges: WHAT=--scaling.
bench: $(BENCH_VENV)/.installed  ## kernels and whole jobs beside their peers, some hours; WHAT=... names some, see docs
	@if home=$$(tools/java.sh); then export JAVA_HOME=$$home; fi; \
	$(BENCH_VENV)/bin/python -m tests.benchmarks.speed.run $(BUILD)/bench $(WHAT)

$(SPARKS): %: .venv-%/.installed

sparks: $(SPARKS)  ## environments with Spark 3.5 and 4.1, for the slow tests that compare with them

java:  ## find Java 17 or newer, or install it (as root, with apt)
	@tools/java.sh

bundle: $(VENV)/.installed  ## the wheels and an environment for clusters, in build/bundle
	@$(VENV)/bin/python tools/bundle.py $(BUNDLE)
	@ls -sh1 $(BUNDLE)

clean:  ## remove build results, workspaces of the demo and caches; the environments stay
	rm -rf $(BUILD) dist *.egg-info graphquilt/build graphquilt/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache spark-warehouse
	find . \( -path ./$(VENV) -o -path ./$(AIRFLOW_VENV) -o -path ./$(CONSUMERS_VENV) -o -path ./$(BENCH_VENV) -o -path './.venv-spark*' -o -path ./.git \) -prune -o -name __pycache__ -print0 | xargs -0 rm -rf
	rm -f $(VENV)/.warm

# Both projects of this repository, from the clone: no index is asked for either.
$(VENV)/.installed: pyproject.toml setup.py graphquilt/pyproject.toml graphquilt/VERSION $(wildcard constraints/py*.txt)
	@test -n "$(PYTHON)" || exit 1  # tools/python.sh has said what is missing
	@tools/venv.sh $(PYTHON) $(VENV)
	$(VENV)/bin/python $(PIP) -e ./graphquilt -e '.[local,spark,connect,graphframes,lake,dev]' -c $(call pins,$(VENV),)
	@touch $@

# Compiled once here, so that neither the demo nor the first task of a run waits for it.
$(VENV)/.warm: $(VENV)/.installed $(wildcard pipeline/kernels/*.py)
	$(VENV)/bin/graphquilt doctor --warm
	@touch $@

# spark35 is 3.5: the last digit is the minor version.
.venv-spark%/.installed: pyproject.toml setup.py graphquilt/pyproject.toml graphquilt/VERSION $(wildcard constraints/py*.txt)
	@test -n "$(PYTHON)" || exit 1
	@tools/venv.sh $(PYTHON) $(@D)
	@grep -v '^py\(spark\|4j\)==' $(call pins,$(@D),) > $(@D)/constraints.txt
	@version=$*; $(@D)/bin/python $(PIP) -e ./graphquilt -e '.[local]' 'pandas<3' "pyspark==$${version:0:1}.$${version:1}.*" -c $(@D)/constraints.txt
	@touch $@

$(AIRFLOW_VENV)/.installed: airflow/requirements.txt $(wildcard constraints/airflow-py*.txt)
	@test -n "$(PYTHON)" || exit 1
	@tools/venv.sh $(PYTHON) $(AIRFLOW_VENV)
	$(AIRFLOW_VENV)/bin/python $(PIP) -r airflow/requirements.txt -c $(call pins,$(AIRFLOW_VENV),airflow-)
	@touch $@

$(CONSUMERS_VENV)/.installed: examples/consumers/requirements.txt pyproject.toml graphquilt/pyproject.toml $(wildcard constraints/consumers-py*.txt)
	@test -n "$(PYTHON)" || exit 1
	@tools/venv.sh $(PYTHON) $(CONSUMERS_VENV)
	$(CONSUMERS_VENV)/bin/python $(PIP) -e ./graphquilt -e '.[local,spark]' -r examples/consumers/requirements.txt -c $(call pins,$(CONSUMERS_VENV),consumers-)
	@touch $@

$(BENCH_VENV)/.installed: tests/benchmarks/speed/requirements.txt pyproject.toml graphquilt/pyproject.toml $(wildcard constraints/py*.txt)
	@test -n "$(PYTHON)" || exit 1
	@tools/venv.sh $(PYTHON) $(BENCH_VENV)
	$(BENCH_VENV)/bin/python $(PIP) -e ./graphquilt -e '.[local,spark]' -r tests/benchmarks/speed/requirements.txt -c $(call pins,$(BENCH_VENV),)
	@touch $@
