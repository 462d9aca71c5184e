# firedeck. `make` alone lists what there is to do.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python .ci/pip_progress.py $(VENV)/install.log
LLAMA := $(shell sed -n 's/^llama-cpp-python==//p' constraints.txt)
WHEELS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/firedeck/wheels-cuda

# What llama.cpp is built for: cpu or cuda. The build that is installed stays until another is asked for.
GPU ?= $(if $(wildcard $(VENV)/.llama-*-cuda),cuda,cpu)
ifeq ($(filter cpu cuda,$(GPU)),)
$(error GPU=$(GPU) is not known: use GPU=cpu or GPU=cuda)
endif
LLAMA_STAMP := $(VENV)/.llama-$(LLAMA)-$(GPU)
INSTALLED := $(VENV)/.installed

.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help install models demo test lint bench sdk torch soak screenshots clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20
	@echo "  GPU=cuda with any of them builds llama.cpp for NVIDIA GPUs (now: GPU=$(GPU))"

install: $(INSTALLED) models ## virtualenv, llama.cpp (minutes, once) and the two embedded models

models: $(INSTALLED)
	@$(BIN)/python -m engine.models fetch

demo: install ## a private engine with the embedded models, synthetic traffic and the dashboard
	@$(BIN)/firedeck demo

# Most of a test's time is waiting. Each of them has an engine and a loaded replica of its own: about 2 GiB.
WORKERS ?= 2

test: install ## all tests but the slow ones (WORKERS=2 at once)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

lint: $(INSTALLED) ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The first time it also builds the peer, llama-server: minutes. ARGS="--only shared --quick" measures a part.
bench: install ## measure beside llama-server, ratios of one run (ARGS=--help)
	$(BIN)/python -m tests.bench $(ARGS)

# fireworks-ai 0.19 and the one that the tests have exclude each other.
sdk: $(INSTALLED) ## the older fireworks-ai (0.19) in a virtualenv of its own, for the tests of its LLM class
	$(PYTHON) -m venv $(VENV)-llm
	$(VENV)-llm/bin/pip install --quiet fireworks-ai==0.19.20

# A gigabyte: transformers and PEFT themselves are asked what converted models and adapters must answer.
torch: $(INSTALLED) ## torch, transformers and PEFT in a virtualenv of their own, for golden numbers of `make soak`
	$(PYTHON) -m venv $(VENV)-torch
	$(VENV)-torch/bin/pip install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2

soak: install ## the slow tests
	$(BIN)/pytest -m soak

screenshots: install ## the README's pictures, from a running engine
	$(BIN)/python -m tests.screenshots

clean: ## remove the virtualenv and all caches in this folder (models and pip's cache stay)
	rm -rf $(VENV) $(VENV)-llm $(VENV)-torch build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "firedeck needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make install PYTHON=python3.12"; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV)

# pip keeps the wheel that it builds, so this takes minutes only once on a machine.
$(VENV)/.llama-$(LLAMA)-cpu: | $(BIN)/pip
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
	  echo "warning: no C++ compiler is on the path (Debian: apt-get install g++; macOS: xcode-select --install)"
	@echo "llama.cpp: the first time on a machine it is compiled, which takes 3 to 10 minutes on 2 cores"
	@$(PIP) install $(if $(wildcard $(VENV)/.llama-*),--force-reinstall --no-deps) llama-cpp-python==$(LLAMA) -c constraints.txt
	@rm -f $(VENV)/.llama-* && touch $@

# pip's cache knows nothing of CMAKE_ARGS: it would hand out the CPU build. So the CUDA wheel has a place of its own.
$(VENV)/.llama-$(LLAMA)-cuda: | $(BIN)/pip
	@if ! $(BIN)/python -c 'import llama_cpp, sys; sys.exit(not llama_cpp.llama_supports_gpu_offload())' 2>/dev/null; then \
	  set -e; \
	  if ! ls $(WHEELS)/llama_cpp_python-$(LLAMA)-*.whl >/dev/null 2>&1; then \
	    command -v nvcc >/dev/null || { echo "GPU=cuda needs NVIDIA's CUDA toolkit: nvcc is not on the path"; exit 1; }; \
	    echo "llama.cpp for CUDA: compiling it takes 10 minutes or more, once on this machine"; \
	    CMAKE_ARGS="-DGGML_CUDA=on $(CMAKE_ARGS)" $(PIP) wheel --no-cache-dir --no-deps -w $(WHEELS) llama-cpp-python==$(LLAMA); \
	  fi; \
	  $(PIP) install --force-reinstall --no-deps $(WHEELS)/llama_cpp_python-$(LLAMA)-*.whl; \
	fi
	@$(PIP) install nvidia-ml-py -c constraints.txt
	@rm -f $(VENV)/.llama-* && touch $@

$(INSTALLED): pyproject.toml constraints.txt $(LLAMA_STAMP)
	@echo "installing firedeck and the packages of constraints.txt"
	@$(PIP) install -e '.[demo,dev]' -c constraints.txt
	@touch $@
