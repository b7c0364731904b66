# make run     the whole system on this machine, with a drill city
# make drill   one drill from signal to proof, then the end
# make test    everything that is checked before a change goes in
# make campaign  the long tests
# make machines  two machines share one city on PostgreSQL, and either gateway dies
# make drills   a dozen drills in a row in one folder
# make fuzz    bytes that break a reader are searched for, a minute a format; needs atheris in the environment

.PHONY: help setup setup-test run drill test lint types imports pytest campaign machines drills fuzz

BIN := .venv/bin
CODE := services devices simulators tests

help:
	@sed -n 's|^# \(make .*\)|\1|p' Makefile

setup:
	@deploy/setup.sh run

setup-test:
	@deploy/setup.sh test

run: setup
	@$(BIN)/tocsin up --demo

drill: setup
	@$(BIN)/tocsin up --demo --once

test: setup-test lint types imports pytest

lint: setup-test
	$(BIN)/ruff check $(CODE) .ci/lock
	$(BIN)/ruff format --check $(CODE) .ci/lock

types: setup-test
	$(BIN)/mypy --strict $(CODE)

imports: setup-test
	$(BIN)/lint-imports

# Two processes, each taking a file after the other.
pytest: setup-test
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# TOCSIN_SEEDS is how many seeds the simulation plays; tests/conftest.py holds hypothesis's long search.
campaign: setup-test
	TOCSIN_SEEDS=$${TOCSIN_SEEDS:-2000} TOCSIN_MACHINES=1 HYPOTHESIS_PROFILE=campaign $(BIN)/python -m pytest -q

machines: setup-test
	TOCSIN_MACHINES=1 $(BIN)/python -m pytest -q tests/acceptance/test_two_machines.py

# The folder stays between them, so that each begins with what the ones before left behind.
drills: setup
	@for n in 1 2 3 4 5 6 7 8 9 10 11 12; do $(BIN)/tocsin up --demo --once || exit 1; done

# What it finds it leaves in the folder; a finding becomes a test under tests/feeds.
FUZZED := cap alert12379 atom ebd signature table plain alertmanager
FUZZ_S ?= 60
FUZZ_SEEDS := tests/data/cap tests/data/alert12379 tests/data/ebd tests/data/feeds

fuzz: setup-test
	@$(BIN)/python -c "import atheris" 2>/dev/null || { echo "atheris is not installed in $(BIN)."; exit 1; }
	@corpus=$$(mktemp -d); trap 'rm -rf "$$corpus"' EXIT; for format in $(FUZZED); do \
	  mkdir -p $$corpus/$$format; \
	  PYTHONPATH=. $(BIN)/python tests/fuzz/readers.py $$format -max_total_time=$(FUZZ_S) -timeout=10 \
	    -rss_limit_mb=1500 -max_len=20000 -verbosity=0 $$corpus/$$format $(FUZZ_SEEDS) || exit 1; \
	done
