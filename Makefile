# make demo | run | test | parity | fuzz | lint | setup | train | bench | bench-gpu | precision-report | clean      (README.md says what each does)
VENV ?= .venv
PY := $(VENV)/bin/python
NODE := $(VENV)/bin/dicom-node
JOBS ?= 2
# What the browser tests saw is kept here.
SCREENSHOTS ?= var/screenshots
# For each target with each of the two engines.
FUZZ_SECONDS ?= 60
# As `dicom-node` does for itself: OpenMP threads that spin while they wait are slow on shared cores.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup setup-tests demo run test parity fuzz lint format train bench bench-gpu precision-report lock clean

help:
	@sed -n '1p' Makefile | cut -c3-

setup:
	@VENV="$(VENV)" scripts/setup.sh

setup-tests:
	@VENV="$(VENV)" scripts/setup.sh --tests

demo: setup
	@$(NODE) demo $(if $(STUDY),--study "$(STUDY)")

run: setup
	@$(NODE) run --with-orthanc

test: setup-tests
	PAGES_SCREENSHOTS="$(SCREENSHOTS)/pages" VIEWER_SCREENSHOTS="$(SCREENSHOTS)/viewer" \
	  $(PY) -m pytest -n $(JOBS) --dist loadfile -m "not full_size"

parity: setup-tests
	$(PY) -m pytest -m full_size

fuzz: setup-tests
	$(PY) -m fuzz $(TARGETS) --seconds $(FUZZ_SECONDS) $(if $(FUZZ_SEEDS),--seeds "$(FUZZ_SEEDS)")

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(PY) -m mypy

format: setup
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

train: setup
	$(PY) -m training --out best_models/demo --work var/training

lock: setup
	{ echo "# Every package that the project and its tests install, pinned. Made by 'make lock' from pyproject.toml."; \
	  $(PY) -m pip freeze --all --exclude pip --exclude dicom-node | sed 's/+cpu//' | grep -v ' @ '; } >requirements/lock.txt.new
	mv requirements/lock.txt.new requirements/lock.txt

bench: setup
	$(PY) -m bench

bench-gpu: setup
	$(PY) -m bench gpu

precision-report: setup
	$(PY) -m bench precision

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
