# Everything a developer or CI runs. Each target sets up what it needs first; a second run starts at once.
# ARGS passes options on: make test ARGS="-k assume_role -x".
.PHONY: help demo demo-ci demo-k8s demo-saml demo-x509 demo-oauth demo-gateway demo-login demo-agent demo-bridge demo-incident demo-remediation demo-etl demo-chain demo-functions demo-regions demo-operate serve test test-slow check lint types layers docs docs-check docs-gen screenshots bench chaos fuzz vectors lock build clean
.DEFAULT_GOAL := help

# Compiled code is kept wherever make runs: without it every server that a test starts takes twice as long to come up.
unexport PYTHONDONTWRITEBYTECODE

PYTHON_BIN := .venv/bin/python
PYTEST := $(PYTHON_BIN) -m pytest
SETUP_DEMO := @sh tools/setup.sh demo
SETUP_DEV := @sh tools/setup.sh dev
SETUP_PROGRAMS := @sh tools/setup.sh programs
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

demo-oauth:  ## service A acts for a person at service B, which verifies offline; one revocation ends both forms of the session
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/service_to_service.py $(ARGS)

demo-gateway:  ## a real proxy in front of an application without code: allowed, denied, revoked
	$(SETUP_DEMO)
	$(SETUP_PROGRAMS)
	@$(PYTHON_BIN) demo/gateway.py $(ARGS)

demo-login:  ## a person signs in as by `aws login`, and boto3 renews the keys by itself until they are revoked
	$(SETUP_DEV)
	@PYTHONPATH=. $(PYTHON_BIN) demo/login.py $(ARGS)

demo-agent:  ## an agent acts for a person with a narrower role, is refused outside it, and is stopped by one revocation
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/agent.py $(ARGS)

demo-bridge:  ## a session is used at a second installation, which stands for AWS, and at a service that verifies as Vault does
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/bridge.py $(ARGS)

demo-incident:  ## an incident: access is requested, approved with a passkey in headless Chromium, used, ended, cut off; the record shows it
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/incident.py $(ARGS)

demo-remediation:  ## an alert that is delivered twice takes a one-time grant and runs its fix once
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/remediation.py $(ARGS)

demo-etl:  ## a job across two accounts that is longer than one token: it holds its sessions, and no token expires on the way
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/etl.py $(ARGS)

demo-chain:  ## a chain of roles over four accounts, hop by hop and flattened, with and without cache, timed
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/chain.py $(ARGS)

demo-functions:  ## 200 cold functions read a secret of a real OpenBao at once
	$(SETUP_DEMO)
	$(SETUP_PROGRAMS)
	@$(PYTHON_BIN) demo/functions.py $(ARGS)

demo-regions:  ## two regions with PostgreSQL, a link that is cut and restored: issuing goes on, revocations arrive
	$(SETUP_DEV)
	@PYTHONPATH=. $(PYTHON_BIN) bench/regions.py $(ARGS)

demo-operate:  ## an incident with a real Prometheus and Alertmanager: the page, the runbook, recovery, the report
	$(SETUP_DEMO)
	@$(PYTHON_BIN) demo/operate.py $(ARGS)

serve:  ## a development server on 127.0.0.1:8700, its data in .daypass
	$(SETUP_DEMO)
	@exec .venv/bin/daypass serve --dev --data .daypass $(ARGS)

test:  ## the test suite, in parallel
	$(SETUP_DEV)
	$(SETUP_JS)
	@$(PYTEST) -n auto --maxprocesses 8 --dist worksteal -m "not slow" $(ARGS)

test-slow:  ## tests that start Node, browsers and further servers, and build wheels and environments
	$(SETUP_DEV)
	$(SETUP_PROGRAMS)
	$(SETUP_JS)
	@$(PYTEST) -n auto --maxprocesses 2 --dist worksteal -m slow $(ARGS)

check: lint types layers docs-check  ## everything that is not a test

lint:  ## ruff: lint and format
	$(SETUP_DEV)
	@$(PYTHON_BIN) -m ruff check
	@$(PYTHON_BIN) -m ruff format --check

types:  ## mypy --strict: the product, demo, bench and tools
	$(SETUP_DEV)
	@$(PYTHON_BIN) -m mypy

layers:  ## the direction of dependencies
	$(SETUP_DEV)
	@$(PYTHON_BIN) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

docs-check:  ## reference pages, diagrams and terminal captures are up to date, the site builds
	$(SETUP_DEV)
	@$(PYTHON_BIN) tools/gen_docs.py --check
	@$(PYTHON_BIN) tools/diagrams.py --check
	@PYTHONPATH=. $(PYTHON_BIN) tools/captures.py --check
	@NO_MKDOCS_2_WARNING=1 $(PYTHON_BIN) -m mkdocs build --strict -d build/site

docs:  ## generate the reference pages and serve the site on 127.0.0.1:8001
	$(SETUP_DEV)
	@$(PYTHON_BIN) tools/gen_docs.py
	@$(PYTHON_BIN) tools/diagrams.py
	@$(PYTHON_BIN) -m mkdocs serve -a 127.0.0.1:8001 $(ARGS)

docs-gen:  ## generate the reference pages, diagrams and terminal captures
	$(SETUP_DEV)
	@$(PYTHON_BIN) tools/gen_docs.py
	@$(PYTHON_BIN) tools/diagrams.py
	@PYTHONPATH=. $(PYTHON_BIN) tools/captures.py

screenshots:  ## take a screenshot of every page of the console, for docs/images; ten minutes
	$(SETUP_DEV)
	$(SETUP_JS)
	@DAYPASS_SCREENSHOTS=docs/images $(PYTEST) -n 2 -m slow -k "not look1 and not look2" tests/e2e/test_*_in_chromium.py tests/e2e/test_provider_sign_in.py
	@$(PYTHON_BIN) tools/gen_docs.py

bench:  ## measure on this machine; BENCH=assume_role measures one thing, BENCH=outage,workers two
	$(SETUP_DEV)
	@set -e; for part in $$(echo "$(BENCH)" | tr , ' '); do echo "== $$part"; PYTHONPATH=. $(PYTHON_BIN) bench/$$part.py $(ARGS); done

chaos:  ## break servers and databases under load; ARGS="--seconds 600" for longer
	$(SETUP_DEV)
	@PYTHONPATH=. $(PYTHON_BIN) bench/chaos.py $(ARGS)

fuzz:  ## millions of random policies against the reference evaluator
	$(SETUP_DEV)
	@$(PYTHON_BIN) tests/fuzz_policy.py $(or $(ARGS),--cases 1000000)

vectors:  ## fetch the public vectors of SigV4 and of signed tokens, and replay them
	$(SETUP_DEV)
	@$(PYTHON_BIN) tests/vectors/fetch.py
	@$(PYTEST) tests/unit -k vectors $(ARGS)

lock:  ## resolve pyproject.toml into requirements/
	$(SETUP_DEV)
	@sh tools/lock.sh $(ARGS)

build: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1700000000)
build:  ## wheel, source distribution, one-file client, SBOM, Debian package (needs dpkg-deb), in dist/; container image (needs podman or docker)
	$(SETUP_DEV)
	@rm -f dist/daypass-*.whl
	@$(PYTHON_BIN) -m build --no-isolation -o dist
	@sh deploy/sbom.sh dist/daypass.cdx.json
	@sh deploy/client/build.sh dist/daypass-*.whl dist/daypass.pyz
	@if command -v dpkg-deb >/dev/null; then sh deploy/deb/build.sh dist/daypass-*.whl dist; fi
	@sh deploy/container/build.sh dist/daypass-*.whl daypass

clean:  ## remove what these targets made, .venv included
	rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
