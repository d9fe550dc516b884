# make demo, make test: each sets up .venv when it is missing.
PY := .venv/bin/python
PYTHON ?= python3

.PHONY: help install demo test notebooks export readme docs docs-check bench wheel clean
help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

.venv/.installed: settings.ini setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@echo "Setting up .venv (a minute or two)"
	@[ -x $(PY) ] || $(PYTHON) -m venv .venv
	@.venv/bin/pip install -qq --upgrade pip setuptools wheel
	@.venv/bin/pip install -qq -c constraints.txt -e '.[dev]'
	@bash tools/git_hooks.sh || echo 'note: the git hooks could not be installed'
	@touch $@

install: .venv/.installed ## .venv with the package editable and everything development needs

demo: .venv/.installed ## Simulate a bank, learn it, generate, price, judge; results in demo/
	@$(PY) tools/demo.py

test: .venv/.installed ## Every notebook and every test; ends with N passed, N failed
	@$(PY) -m pytest -q -n 2 --dist loadgroup tests

export: .venv/.installed ## Notebooks -> cascade_engine/, and clean
	.venv/bin/nbdev_export
	.venv/bin/nbdev_clean

notebooks: .venv/.installed ## Execute every notebook in place, so that its outputs are today's
	cd nbs && for f in [0-9]*.ipynb index.ipynb tutorials/*.ipynb; do ../.venv/bin/jupyter nbconvert --log-level=ERROR --to notebook --execute --inplace $$f || exit 1; done
	.venv/bin/nbdev_clean

readme: .venv/.installed ## README.md from nbs/index.ipynb, nbs/llms.txt from all notebooks
	@$(PY) tools/readme.py
	@$(PY) tools/llms.py

docs: .venv/.installed ## The site in _docs/, with Quarto where it is installed
	@$(PY) tools/docs.py

docs-check: .venv/.installed ## Links, pictures, samples, names; part of make test, needs no Quarto
	@$(PY) -m pytest -q -n 2 tests/test_docs.py

bench: .venv/.installed ## Every benchmark, one after another (an hour); tables in benchmarks/results/
	@for f in benchmarks/*.py; do echo "== $$f"; $(PY) $$f || exit 1; done

wheel: .venv/.installed ## dist/*.whl
	@$(PY) -m build --wheel --no-isolation

clean: ## Remove what was built
	rm -rf build dist *.egg-info demo .pytest_cache _proc _docs
