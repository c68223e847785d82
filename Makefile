# Bare `make` lists the targets. All run with .venv/bin/python; another interpreter: make test PYTHON=python3
PYTHON ?= .venv/bin/python
OWN_ENV := $(if $(filter .venv/bin/python,$(PYTHON)),.venv/.stamp)
QUIET := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 JUPYTER_PLATFORM_DIRS=1

.DEFAULT_GOAL := help
.PHONY: help env demo rotations demo-full ladder paper test test-slow bench lab lint clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## (.*)/\1|\2/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

env: $(OWN_ENV)  ## .venv from the lock constraints.txt, in under 3 minutes; nothing the second time
	@echo "env: $(PYTHON) is up to date"

.venv/.stamp: constraints.txt pyproject.toml
	@scripts/make_env.sh
	@touch $@

demo: env  ## the core story on the embedded photographs, on a CPU in minutes
	$(PYTHON) -m iqa_core run demo

rotations: env  ## the demo's four rotations: every photograph is tested once; resumes where it stopped
	$(PYTHON) -m iqa_core run rotations --resume

demo-full: demo  ## every notebook on the embedded photographs: the demo, then ablations and a Swin from scratch
	$(PYTHON) -m iqa_core run demo-full

ladder: env  ## every ablation of MUSIQ, IQT and CKDN with five seeds: hours; resumes where it stopped
	$(PYTHON) -m iqa_core run ladder --resume
	$(PYTHON) scripts/make_ladder_docs.py

paper: env  ## figures/demo-paper.pdf: the demo's figures, tables and runs as a paper; needs LaTeX
	$(PYTHON) -m iqa_core paper

# By their names: the demo's modules have few tests, so that xdist's own order would keep them for the end.
test: lint  ## lint and all tests but the slow ones
	$(QUIET) $(PYTHON) -m pytest -m "not slow" -n 2 --dist loadscope --no-loadscope-reorder

test-slow: env  ## the slow tests: full-size models, long runs
	HF_HUB_OFFLINE=1 $(PYTHON) -m pytest -m slow; status=$$?; [ $$status -ne 5 ] || { echo "test-slow: no slow test yet"; exit 0; }; exit $$status

bench: env  ## every benchmark of benchmarks/, one after the other
	@found=; for file in benchmarks/*.py; do [ -f "$$file" ] || continue; found=1; echo "== $$file"; \
	$(PYTHON) "$$file" || exit 1; done; [ -n "$$found" ] || echo "bench: no benchmark yet"

lab: env  ## JupyterLab on this machine, in the project's folder
	$(PYTHON) -m jupyterlab --ip=127.0.0.1 --ServerApp.root_dir="$(CURDIR)" --LabApp.news_url=None --LabApp.extension_manager=readonly \
	--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $$([ "$$(id -u)" -ne 0 ] || echo --allow-root)

lint: env  ## ruff, notebooks without outputs, lines of code
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	@set -- $$(ls notebooks/*.ipynb 2>/dev/null); [ $$# -eq 0 ] || $(PYTHON) -m nbstripout --verify "$$@"
	@$(PYTHON) scripts/count_lines.py

clean:  ## removes runs, caches, tables, labels and exported figures; keeps .venv and data/raw
	@for path in data/runs data/cache data/tables data/labels .pytest_cache .ruff_cache .hypothesis build iqa_core.egg-info; do \
	[ ! -e "$$path" ] || { echo "removing $$path"; rm -rf "$$path"; }; done
	@git ls-files --others --ignored --exclude-standard -- figures | while read -r file; do echo "removing $$file"; rm -f "$$file"; done
	@find . -path ./.venv -prune -o -path ./.git -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -print | \
	while read -r folder; do echo "removing $$folder"; rm -rf "$$folder"; done
