# Everything a developer or CI runs. Each target sets up what it needs first; a second run starts at once.
# ARGS passes options on: make test ARGS="-k assume_role -x".
.PHONY: help demo demo-ci demo-k8s demo-saml demo-x509 serve test test-slow check lint types layers docs docs-check docs-gen bench fuzz vectors lock build clean
.DEFAULT_GOAL := help

# Compiled code is kept wherever make runs: without it every server that a test starts takes twice as long to come up.
unexport PYTHONDONTWRITEBYTECODE

PYTHON_BIN := .venv/bin/python
PYTEST := $(PYTHON_BIN) -m pytest
SETUP_DEMO := @sh tools/setup.sh demo
SETUP_DEV := @sh tools/setup.sh dev
SETUP_JS := @sh tools/setup_js.sh
BENCH ?= evaluator wire journal assume_role federation where directory

help:  ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## *\(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo:  ## the main job, for real: boto3 borrows a role, the record shows it
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/main_job.py $(ARGS)

demo-ci:  ## a CI job without a static key: its token borrows a role
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/ci.py $(ARGS)

demo-k8s:  ## a pod's SDK with the standard environment alone writes to a store that trusts the session
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/k8s.py $(ARGS)

demo-saml:  ## people with single sign-on: a response of their identity provider borrows a role, by boto3 and by browser
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/saml.py $(ARGS)

demo-x509:  ## a host's certificate borrows a role, with the stock client of IAM Roles Anywhere; a revoked one does not
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/x509.py $(ARGS)

serve:  ## a development server on 127.0.0.1:8700, its data in .daypass
	$(SETUP_DEMO)
	@exec .venv/bin/daypass serve --dev --data .daypass $(ARGS)

test:  ## the test suite, in parallel
	$(SETUP_DEV)
	$(SETUP_JS)
	@$(PYTEST) -n auto --maxprocesses 8 --dist worksteal -m "not slow" $(ARGS)

test-slow:  ## tests that build wheels and whole environments
	$(SETUP_DEV)
	@$(PYTEST) -n auto --maxprocesses 2 -m slow $(ARGS)

check: lint types layers docs-check  ## everything that is not a test

lint:  ## ruff: lint and format
	$(SETUP_DEV)
	@$(PYTHON_BIN) -m ruff check
	@$(PYTHON_BIN) -m ruff format --check

types:  ## mypy --strict
	$(SETUP_DEV)
	@$(PYTHON_BIN) -m mypy

layers:  ## the direction of dependencies
	$(SETUP_DEV)
	@$(PYTHON_BIN) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

docs-check:  ## reference pages are up to date, the site builds
	$(SETUP_DEV)
	@$(PYTHON_BIN) tools/gen_docs.py --check
	@NO_MKDOCS_2_WARNING=1 $(PYTHON_BIN) -m mkdocs build --strict -d build/site

docs:  ## generate the reference pages and serve the site on 127.0.0.1:8001
	$(SETUP_DEV)
	@$(PYTHON_BIN) tools/gen_docs.py
	@$(PYTHON_BIN) -m mkdocs serve -a 127.0.0.1:8001 $(ARGS)

docs-gen:  ## generate the reference pages
	$(SETUP_DEV)
	@$(PYTHON_BIN) tools/gen_docs.py

bench:  ## measure on this machine; BENCH=assume_role measures one thing
	$(SETUP_DEV)
	@set -e; for part in $(BENCH); do echo "== $$part"; PYTHONPATH=. $(PYTHON_BIN) bench/$$part.py $(ARGS); done

fuzz:  ## millions of random policies against the reference evaluator
	$(SETUP_DEV)
	@$(PYTHON_BIN) tests/fuzz_policy.py $(or $(ARGS),--cases 1000000)

vectors:  ## fetch the public SigV4 vectors and replay them
	$(SETUP_DEV)
	@$(PYTHON_BIN) tests/vectors/fetch.py
	@$(PYTEST) tests/unit -k vectors $(ARGS)

lock:  ## resolve pyproject.toml into requirements/
	$(SETUP_DEV)
	@sh tools/lock.sh $(ARGS)

build:  ## the wheel and the source distribution, in dist/
	$(SETUP_DEV)
	@$(PYTHON_BIN) -m build --no-isolation -o dist

clean:  ## remove what these targets made, .venv included
	rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
