# Everything a newcomer needs: `make demo` and `make test`.
# Each target first makes the environment, which a second call finds finished.

SHELL := /bin/bash -o pipefail
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
REQUIREMENTS ?= requirements.txt
TORCH_OPENMMLAB ?= torch==2.1.2
VENV_OPENMMLAB ?= .venv-openmmlab
DEMO_DIR ?= work_dirs/demo
# processes of the tests: a core and 2 GiB of memory each
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# what Python's own build has, without -g: debug information takes half of the
# time that mmcv compiles (docs/compatibility.md)
MMCV_CFLAGS ?= -DNDEBUG -fwrapv -O3 -g0
# where SYSTEM=1 finds what it does not install
PLACES = import os, torch, mmcv, mmdet; \
  print("\n".join({os.path.dirname(os.path.dirname(m.__file__)) \
  for m in (torch, mmcv, mmdet)}))

BIN := $(VENV)/bin
STAMP := $(VENV)/.complete

.PHONY: env demo test test-openmmlab lint format bench clean

env: $(STAMP)

# torch comes first and alone: mmcv compiles against the one it finds, and
# without a pin its build would fetch another.
$(STAMP): $(REQUIREMENTS) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) \
	  else "mmwkd needs Python 3.10 or newer, found %d.%d: set PYTHON" % v[:2])'
ifdef SYSTEM
	@$(PYTHON) -W ignore -c 'import torch, mmcv.ops, mmdet' || { echo 'SYSTEM=1' \
	  'needs a PYTHON that has torch, mmcv with operators and mmdet, and' \
	  '$(PYTHON) has not: set PYTHON, or leave SYSTEM out'; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(PYTHON) -W ignore -c '$(PLACES)' | \
	  cat > $$(echo $(VENV)/lib/python3*/site-packages)/system.pth
	@echo '[1/1] mmwkd, beside the torch, mmcv and mmdet that are there'
	@$(BIN)/pip install -q 'setuptools>=77,<81'
else
	@echo 'make env: 10 to 15 minutes on 2 cores the first time, nearly all of' \
	  'it to compile mmcv,'
	@echo 'and a minute once pip has kept that; 2 GB of disk, more with CUDA.'
	@echo 'Where mmdet runs already: make env SYSTEM=1 PYTHON=.../python'
	@echo '[1/3] $(TORCH)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q 'setuptools>=77,<81' wheel ninja
	@$(BIN)/pip install -q '$(TORCH)'
	@echo '[2/3] mmcv, mmdet'
	@CFLAGS='$(MMCV_CFLAGS)' PYTHONUNBUFFERED=1 $(BIN)/pip install -v --no-build-isolation \
	  -r $(REQUIREMENTS) 2>&1 | tee $(VENV)/install.log | \
	  $(PYTHON) -u tools/install_progress.py || \
	  { tail -n 30 $(VENV)/install.log; exit 1; }
	@$(BIN)/python -W ignore -c 'import mmcv.ops' || { echo 'pip kept an mmcv' \
	  'that was compiled for another torch: run pip cache remove "*mmcv*",' \
	  'remove $(VENV) and start again'; exit 1; }
	@echo '[3/3] mmwkd'
endif
	@$(BIN)/pip install -q --no-build-isolation -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/python tools/demo.py --work-dir $(DEMO_DIR)

# tiny detectors: threads would wait for each other more than they compute
test: export OMP_NUM_THREADS ?= 1
test: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

# The original OpenMMLab packages, with a torch of their time and on the CPU,
# for which mmcv is compiled too where there is a GPU (docs/compatibility.md).
test-openmmlab: export CUDA_VISIBLE_DEVICES =
test-openmmlab:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v < (3, 12) \
	  else "torch 2.1 has no wheel for Python %d.%d: set PYTHON" % v[:2])'
	@$(MAKE) --no-print-directory test VENV=$(VENV_OPENMMLAB) \
	  TORCH='$(TORCH_OPENMMLAB)' REQUIREMENTS=requirements-openmmlab.txt

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python benchmarks/losses.py
	$(BIN)/python benchmarks/sinkhorn.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/step.py --pair r18-from-r101 --rounds 5
	$(BIN)/python benchmarks/step.py --pair r18-from-r101 --rounds 5 \
	  --teacher-options
	$(BIN)/python benchmarks/growth.py

clean:
	rm -rf work_dirs build *.egg-info .pytest_cache .mypy_cache .ruff_cache
