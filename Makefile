# make demo          set up the environment if needed and run the demo on the sample data
# make test          set up the environment if needed and run the tests
# make test-oldest   run the tests on the oldest supported versions
# make lint types    run ruff and mypy
# make docs          build the documentation as a site, in site/
# make all           lint, types and test
#
# Uses the active virtual environment if pet and the test tools are installed there; else .venv, which is
# created on first use. ARGS are passed to pytest: make test ARGS="tests/task -m ''"

PYTHON ?= python3
ARGS ?=

# Checked from another folder: in this one, `import pet` works without installation.
ACTIVE := $(shell test -n "$$VIRTUAL_ENV" && cd / && "$$VIRTUAL_ENV/bin/python" -c \
	'import pet, hypothesis, pytest, pytest_timeout, xdist' 2>/dev/null && echo "$$VIRTUAL_ENV")
VENV ?= .venv
ifeq ($(ACTIVE),)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
else
BIN := $(ACTIVE)/bin
READY :=
endif
OLDEST ?= .venv-oldest

# One thread per worker: tiny models gain nothing from more, and results do not depend on the machine.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
EXTRAS := test,dev,docs,lora,review,excel,duckdb,onnx,openvino
PYTEST := -m pytest -n 2 --dist loadfile

.PHONY: all demo test test-oldest lint types docs
all: lint types test

demo: $(READY)
	env -u OMP_NUM_THREADS $(BIN)/pet run news --train data/news/train.jsonl --unlabeled data/news/unlabeled.jsonl \
		--test data/news/test.jsonl --examples 10 --baselines -o runs/news

test: $(READY)
	$(BIN)/python $(PYTEST) $(ARGS)

lint: $(READY)
	$(BIN)/python -m ruff check .

types: $(READY)
	$(BIN)/python -m mypy

docs: $(READY)
	$(BIN)/python docs/site/build_site.py

test-oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/python $(PYTEST) $(ARGS)

# $(call install,ENVIRONMENT,CONSTRAINTS,EXTRAS)
define install
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check -c $(2) -e '.[$(3)]'
	touch $(1)/.ready
endef

$(VENV)/.ready: setup.cfg constraints.txt
	$(call install,$(VENV),constraints.txt,$(EXTRAS))

$(OLDEST)/.ready: setup.cfg constraints-oldest.txt
	$(call install,$(OLDEST),constraints-oldest.txt,test)
