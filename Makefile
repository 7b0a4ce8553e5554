# Two commands on a fresh machine, which needs only make and Python 3.10 to 3.13:
#   make reproduce    every table and figure, on the bundled miniature
#   make test         the linter and the tests

# Looked up only when the environment has to be made. Override it: make PYTHON=python3.12 reproduce
FITS := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$p -c '$(FITS)' 2>/dev/null && { echo $$p; break; }; done)
PROFILE ?= mini
MINIATURE ?= mini-llava

VENV := .venv
PY := $(VENV)/bin/python
SPARSEVLM := $(VENV)/bin/sparsevlm
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
# The environment is current while a stamp stands for exactly these pins; another lock, another stamp.
PINS := requirements-torch.txt requirements.lock pyproject.toml
STAMP := $(VENV)/installed-$(shell cat $(PINS) | cksum | cut -d' ' -f1)

# Not part of the environment (it is not in the lock): pipx install mypy, or MYPY=path/to/mypy.
MYPY ?= mypy

# A small model gains nothing from a thread per core of a large machine.
reproduce test bench: export OMP_NUM_THREADS ?= 2
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help reproduce rehearse test lint types lab train figures verify claims site bench check lock clean distclean
.DEFAULT_GOAL := help

help:
	@echo "make reproduce   compute the missing results, then draw every table and figure (PROFILE=mini)"
	@echo "make test        run the linter and the tests"
	@echo "make types       check the types of core, runtime, methods and models (needs mypy)"
	@echo "make lab         open JupyterLab here, with notebooks/explore.ipynb"
	@echo "make figures     draw every table and figure again, from the results that are there"
	@echo "make verify      score the shipped answers again, and compute a random part of them again"
	@echo "make claims      write artifacts/CLAIMS.md from the results that are there"
	@echo "make site        write figures, claims and notebooks as web pages to artifacts/PROFILE/site"
	@echo "make bench       measure what pruning costs beyond the smaller model it leaves"
	@echo "make check       check that notebooks match their sources and bundled files are complete"
	@echo "make rehearse    run the whole a100 profile on tiny checkpoints and drawn data, on a processor"
	@echo "make train       train a bundled model and write its card; it resumes (MINIATURE=mini-llava)"
	@echo "make lock        solve requirements.lock again (needs uv)"
	@echo "make clean       delete artifacts/; results/ stays. make distclean deletes .venv as well"
	@echo "All commands: $(SPARSEVLM) --help"

reproduce: $(STAMP)
	$(SPARSEVLM) reproduce --profile $(PROFILE)

test: lint
	HF_HUB_OFFLINE=1 $(PY) -m pytest -q --numprocesses 2 --dist loadfile

lint: $(STAMP)
	$(PY) -m ruff check .

types: $(STAMP)
	$(MYPY) --python-executable $(PY)

lab: $(STAMP)
	$(PY) -m jupyterlab --notebook-dir=. notebooks/explore.ipynb

figures: $(STAMP)
	$(SPARSEVLM) run --profile $(PROFILE)

rehearse: $(STAMP)
	PYTHONPATH=tests $(PY) -m rehearsal

train: $(STAMP)
	$(PY) -m training.train --name $(MINIATURE)
	$(PY) -m training.card --name $(MINIATURE)

verify: $(STAMP)
	$(SPARSEVLM) verify

claims: $(STAMP)
	$(SPARSEVLM) claims

site: $(STAMP)
	$(SPARSEVLM) site --profile $(PROFILE)

bench: $(STAMP)
	$(SPARSEVLM) bench

check: $(STAMP)
	$(SPARSEVLM) check

$(STAMP):
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(FITS)' || { echo \
	"make: Python 3.10 to 3.13 is needed, and '$(or $(PYTHON),python3)' is not one;" \
	"install one and name it: make PYTHON=python3.12 reproduce" >&2; exit 1; }
	@echo "Making $(VENV) (once, a few minutes; torch is the large part)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements-torch.txt
	$(PIP) --no-deps --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/installed-*
	@touch $@

# Torch and what a CUDA build of it brings stay out: they depend on the machine.
NOT_LOCKED := torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas \
	nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft \
	nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 \
	nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
UV ?= uv
lock:
	$(UV) pip compile pyproject.toml --universal --python-version 3.10 --extra notebooks \
	--extra a100 --extra dev --constraint requirements-torch.txt --generate-hashes --no-annotate --no-header \
	$(addprefix --no-emit-package ,$(NOT_LOCKED)) --output-file requirements.lock --quiet

clean:
	rm -rf artifacts .pytest_cache .ruff_cache

distclean: clean
	rm -rf $(VENV) *.egg-info
