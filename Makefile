# The few commands of the project. Each works in a fresh clone with Python >= 3.11 and make alone: what is missing is installed
# into .venv first, and again only when pyproject.toml or constraints.txt has changed.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

.PHONY: demo first-look compare test lint docs bench clean .venv
.NOTPARALLEL:

demo: .venv
	$(BIN)/phalanx demo

# Three runs on real data: unattacked, attacked, defended; and a page that compares them.
first-look: .venv
	$(BIN)/phalanx run experiments/first_look.toml --out runs/first_look/no_attack --set aggregator.kind=mean --set adversary.when.kind=never
	$(BIN)/phalanx run experiments/first_look.toml --out runs/first_look/mean --set aggregator.kind=mean
	$(BIN)/phalanx run experiments/first_look.toml --out runs/first_look/flame
	$(BIN)/phalanx report runs/first_look/no_attack runs/first_look/mean runs/first_look/flame --out runs/first_look/report.html --plots runs/first_look/plots

# Six rules against four attacks and none, three seeds each: half an hour on two cores. What is finished is not run again.
compare: .venv
	$(BIN)/phalanx sweep experiments/fashion_mnist_sweep.toml
	$(BIN)/phalanx report runs/fashion_mnist_sweep --out runs/fashion_mnist_sweep/report.html --plots runs/fashion_mnist_sweep/plots

# The tests run side by side: with more than one thread each they would fight over the cores.
test: export OMP_NUM_THREADS := 1
test: .venv/installed-bench
	$(BIN)/pytest -n auto --maxprocesses 8

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in site/. The notice that the variable silences is about the future of MkDocs, the deprecations are typer's use of click.
docs: export NO_MKDOCS_2_WARNING := 1
docs: export OMP_NUM_THREADS := 1
docs: .venv/installed-docs
	$(BIN)/python -W ignore::DeprecationWarning -m mkdocs build --strict

bench: .venv/installed-bench
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf site .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find src tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

.venv: .venv/installed

.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Phalanx needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/installed: .venv/created pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/created pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	@touch .venv/installed $@

.venv/installed-docs: .venv/created pyproject.toml constraints.txt
	$(PIP) --editable '.[docs]'
	@touch .venv/installed $@

# ByzFL is what benchmarks and tests compare with. It asks for torchvision, whose wheel does not load beside a CPU build of torch, and
# for seaborn, which draws its plots: its rules need neither, so it comes without dependencies. Without it both say so.
.venv/installed-bench: .venv/installed-dev
	-$(PIP) --no-deps byzfl==0.0.11
	@touch $@
