# make train   sets everything up, trains on the embedded digits and leaves pictures in runs/digits
# make lint    formatting, lint, types and line lengths; make format mends what can be mended
# make test    sets everything up and runs the tests (no GPU, no deep-learning framework)
# make test-lowest   the same tests with the lowest versions that pyproject.toml allows, on the
#              lowest Python (LOWEST_PYTHON=/path/to/python3.11)
# make test-newest   the same tests on the newest Python that this machine has, with the newest
#              versions (NEWEST_PYTHON=/path/to/python)
# make prove   the long proofs: parity with PyTorch, fuzzing, and the tests on the newest Python.
#              Installs PyTorch, diffusers and (on Linux, x86-64) atheris
# make test-browser   tests of `tinyddpm explore` and of the site in a real browser: the system's
#              Chromium or Chrome, or CHROMIUM=/path/to/it
# make test-gpu-sim   tests of the CuPy backend with no GPU: the real CuPy, computing on this CPU
#              (tools/cupy_on_cpu; needs g++), and the CUDA kernels
# make bench   times training steps, sampling and each op against PyTorch (installs it)
# make bench-scaling   draws how time and memory grow
# make bench-gpu   times kernels and training steps on a GPU against PyTorch. To test on a GPU:
#              pytest -m gpu (docs/gpu.md)
# make gpu-report   all that we want to know of a GPU, in eight minutes, as report/report.md
# make gpu-counts   counts again what a step asks of a GPU, for the times that report expects
# make docs    the site, in docs/_build/html: pages, API reference, and the examples with what a
#              full run of each printed and drew
# make keep    runs the examples that have changed, in full, and keeps what they print and draw for
#              the site; EXAMPLES="05 07" names some
# make docs-links   follows the site's links into the internet
# make architecture   draws docs/architecture.svg from the imports
# make one-page   computes what docs/one_page.md shows (half a minute)
PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/bin/python
GPU_SIM ?= .venv-gpu-sim
LOWEST  ?= .venv-lowest
NEWEST  ?= .venv-newest
LOWEST_PYTHON ?= python3.11
NEWEST_PYTHON ?= $(shell $(PYTHON) tools/newest_python.py)
TESTS := -m "not prove and not gpu_sim and not browser"

.PHONY: lint format train test test-lowest test-newest test-browser test-gpu-sim prove
.PHONY: bench bench-gpu gpu-report gpu-counts bench-scaling clean python

train: $(VENV)/.ready
	$(VENV)/bin/tinyddpm train --recipe digits --out runs/digits --resume-if-there

# Formatting, lint, types and line lengths; nothing is changed. make format changes what it can.
lint: $(VENV)/.ready-lint
	$(RUN) -m ruff format --check --quiet
	$(RUN) -m ruff check --quiet
	$(RUN) -m mypy
	$(RUN) tools/long_lines.py

format: $(VENV)/.ready-lint
	$(RUN) -m ruff check --fix --quiet --exit-zero
	$(RUN) -m ruff format

test: $(VENV)/.ready-test
	OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest -n auto $(TESTS)

test-lowest: $(LOWEST)/.ready
	OPENBLAS_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n auto $(TESTS)

test-newest: $(NEWEST)/.ready
	OPENBLAS_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest -n auto $(TESTS)

test-browser: $(VENV)/.ready-test $(VENV)/.ready-browser docs
	OPENBLAS_NUM_THREADS=1 CHROMIUM=$(CHROMIUM) $(RUN) -m pytest -m browser tests/browser

# Two runs: NVIDIA's compiler dies beside the stand-in for its driver.
test-gpu-sim: $(GPU_SIM)/.ready
	$(PYTHON) tools/cupy_on_cpu/build.py $(GPU_SIM)
	OPENBLAS_NUM_THREADS=1 TINYDDPM_GPU=simulated $(GPU_SIM)/bin/python -m pytest -n auto \
	  --dist worksteal -m gpu_sim tests/gpu
	OPENBLAS_NUM_THREADS=1 $(GPU_SIM)/bin/python -m pytest -n auto -m gpu_sim tests/cuda

prove: $(VENV)/.ready-test $(VENV)/.ready-bench $(VENV)/.ready-fuzz $(GPU_SIM)/.ready test-newest
	OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist worksteal -m prove -rs
	$(RUN) tests/mutants/run.py
	$(PYTHON) tools/cupy_on_cpu/build.py $(GPU_SIM)
	$(GPU_SIM)/bin/python tests/mutants/gpu.py

bench: $(VENV)/.ready-bench
	$(RUN) -m benchmarks.step --memory --updates
	$(RUN) -m benchmarks.sample
	$(RUN) -m benchmarks.ops

bench-gpu: $(VENV)/.ready-bench
	@$(RUN) -c 'import cupy' 2>/dev/null || { \
	  echo "make: CuPy is not installed: $(RUN) -m pip install '.[cuda12]' (or '.[cuda13]')"; exit 1; }
	$(RUN) -m benchmarks.gpu

gpu-report: $(VENV)/.ready-test
	@$(RUN) -c 'import cupy' 2>/dev/null || { \
	  echo "make: CuPy is not installed: $(RUN) -m pip install '.[cuda12]' (or '.[cuda13]')"; exit 1; }
	$(MAKE) $(VENV)/.ready-bench
	$(RUN) -m benchmarks.gpu_report --out report

gpu-counts: $(VENV)/.ready-bench $(GPU_SIM)/.ready
	$(PYTHON) tools/cupy_on_cpu/build.py $(GPU_SIM)
	$(GPU_SIM)/bin/python -m benchmarks.gpu_report.count
	$(RUN) -m benchmarks.gpu_report.count --peer

bench-scaling: $(VENV)/.ready-bench
	$(RUN) -m benchmarks.scaling --out docs/scaling.png

.PHONY: docs docs-links keep architecture one-page
# -W: a warning is an error, and so is a reference that leads nowhere. The site is made from
# nothing: a page that has not changed would not warn again, and one whose module is gone would
# stay. Nothing runs: docs/kept has what the examples found. The script follows every link of the
# site that stays on it.
docs: $(VENV)/.ready-docs
	rm -rf docs/_build/html
	OPENBLAS_NUM_THREADS=1 $(RUN) -m sphinx -W --keep-going --quiet docs docs/_build/html
	$(RUN) docs/_ext/check_links.py docs/_build/html
	@echo "The site is docs/_build/html/index.html."

docs-links: $(VENV)/.ready-docs
	OPENBLAS_NUM_THREADS=1 $(RUN) -m sphinx --builder linkcheck docs docs/_build/links

keep: $(VENV)/.ready-test
	OPENBLAS_NUM_THREADS=1 $(RUN) docs/_ext/keep.py $(EXAMPLES)

architecture: $(VENV)/.ready-test
	$(RUN) docs/_ext/architecture.py

one-page: $(VENV)/.ready
	OPENBLAS_NUM_THREADS=1 $(RUN) docs/_ext/one_page.py

# One line that says what is wrong and how to mend it, instead of a traceback from the middle of an
# installation.
NAME_ONE := name one: make PYTHON=/path/to/python3.11
python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: there is no '$(PYTHON)': install Python 3.11 or newer, or $(NAME_ONE)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $$($(PYTHON) --version) is too old: tinyddpm needs 3.11 or newer; $(NAME_ONE)"; \
	  exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "make: this Python cannot make virtual environments: install its venv module"\
	  "(Debian and Ubuntu: apt install python3-venv)"; exit 1; }

$(VENV)/.ready: pyproject.toml | python
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable .
	@touch $@

$(VENV)/.ready-test: pyproject.toml | $(VENV)/.ready
	$(RUN) -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/.ready-lint: pyproject.toml | $(VENV)/.ready
	$(RUN) -m pip install --quiet --editable '.[lint]'
	@touch $@

$(VENV)/.ready-bench: pyproject.toml | $(VENV)/.ready
	$(RUN) -m pip install --quiet --editable '.[bench]'
	@touch $@

$(VENV)/.ready-browser: pyproject.toml | $(VENV)/.ready
	$(RUN) -m pip install --quiet --editable '.[browser]'
	@touch $@

$(VENV)/.ready-fuzz: pyproject.toml | $(VENV)/.ready
	$(RUN) -m pip install --quiet --editable '.[fuzz]'
	@touch $@

$(VENV)/.ready-docs: pyproject.toml | $(VENV)/.ready
	$(RUN) -m pip install --quiet --editable '.[docs]'
	@touch $@

$(GPU_SIM)/.ready: pyproject.toml | python
	$(PYTHON) -m venv $(GPU_SIM)
	$(GPU_SIM)/bin/python -m pip install --quiet --editable '.[test]' 'nvidia-cuda-nvrtc==13.*'
	@touch $@

# pip takes the newest versions there are; uv can take the lowest. The lowest matplotlib calls what
# pyparsing 3.3 warns about, and a warning is an error in the tests.
$(LOWEST)/.ready: pyproject.toml
	$(LOWEST_PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python \
	  --resolution lowest-direct --editable '.[test]' 'pyparsing>=3.1,<3.3'
	@touch $@

$(NEWEST)/.ready: pyproject.toml
	$(NEWEST_PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) $(GPU_SIM) $(LOWEST) $(NEWEST) build docs/_build docs/auto_examples *.egg-info
