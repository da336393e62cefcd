# Everything that a machine with Python >= 3.11 and make needs: `make help` lists the commands.
# The environment is in .venv and follows the locks in requirements/; a stamp makes the second time instant.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
UV = $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(BIN)/uv)
INSTALL = $(UV) pip install --quiet --python $(BIN)/python
DOCS ?= docs
MAN ?= src/skyferry/cli/skyferry.1
VALUES ?= deploy/helm/skyferry/values.schema.json
ARGS ?=

export UV_LINK_MODE ?= copy

.DEFAULT_GOAL := help
.PHONY: help run test check drill bench bench-peers lock docs docs-check docs-site transcripts figures dist image base lines clean

help: ## Say what there is
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

run: .venv/run ## Start Skyferry on folders in skyferry-data, with a few sample objects (ARGS="--until-idle" …)
	@$(BIN)/skyferry run --samples $(ARGS)

test: .venv/dev ## Pass the tests, four at a time (ARGS="-k ledger" …)
	$(BIN)/pytest -n 4 --dist worksteal $(ARGS)

check: .venv/dev lines docs-check ## Lint, format, strict types, import contracts, file lengths, generated pages, figures
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(PYTHON) -m tools.figures --check >.venv/figures || { cat .venv/figures; exit 1; }

drill: .venv/dev ## Break what can break in a fleet of four workers (as root: ARGS="--events 20000 --seed 2" …)
	$(BIN)/python -m tests.fleet.drill $(ARGS)

bench: .venv/dev ## Measure, one after the other
	@for file in bench/[a-z]*.py; do echo "== $$file"; $(BIN)/python -m bench.$$(basename $$file .py) || exit; done

bench-peers: .venv/dev ## Measure beside rclone, s5cmd, juicefs, obstore and rsync, and write tables and pictures into the docs (more than ten minutes)
	$(BIN)/python -m bench.peers --write
	$(BIN)/python -m bench.growth --objects 1000 10000 100000 --write

docs: .venv/dev ## Write the generated pages again
	$(BIN)/python -m skyferry.cli.reference $(DOCS)/reference/cli.md $(DOCS)/reference/exit-codes.md
	$(BIN)/python -m skyferry.cli.man_page $(MAN)
	$(BIN)/python -m skyferry.config.reference > $(DOCS)/reference/configuration.md
	$(BIN)/python -m skyferry.observe.reference $(DOCS)/reference/observability.md
	$(BIN)/python -m skyferry.server.reference $(DOCS)/reference/openapi.json
	$(BIN)/skyferry schema config > $(DOCS)/reference/config.schema.json
	$(BIN)/python -m tools.values_schema $(VALUES)

docs-check: .venv/dev
	@rm -rf .venv/docs && cp -R docs .venv/docs
	@$(MAKE) --silent --no-print-directory docs DOCS=.venv/docs MAN=.venv/skyferry.1 VALUES=.venv/values.schema.json
	@diff -ru docs .venv/docs && diff -u src/skyferry/cli/skyferry.1 .venv/skyferry.1 && diff -u deploy/helm/skyferry/values.schema.json .venv/values.schema.json || { echo "generated pages are stale: make docs"; exit 1; }
	@$(BIN)/pytest --quiet --no-header tests/docs/test_links.py tests/docs/test_named.py

transcripts: .venv/dev ## Run the commands that the pages show, and write their output into the pages
	@$(BIN)/python -m tests.docs.transcripts

docs-site: .venv/mkdocs/done ## Build the documentation as a site in .venv/site, and check its links
	@SOURCE_DATE_EPOCH=0 NO_MKDOCS_2_WARNING=1 .venv/mkdocs/bin/mkdocs build --strict 2>.venv/mkdocs/log || { cat .venv/mkdocs/log; exit 1; }
	@! grep -rnoE '<(script|link|img|iframe)[^>]* (src|href)="?(https?:)?//[^ >]*' .venv/site --include=*.html \
		|| { echo "the site must not need the network"; exit 1; }
	@echo "open .venv/site/index.html"

figures: ## Measure layout, names and prose (ARGS="--list --under src/skyferry/engine" …)
	@$(PYTHON) -m tools.figures $(ARGS)

dist: .venv/release/done ## Build sdist and wheel in dist/, check them, and write their bill of materials and constraints
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) .venv/release/bin/python -m build --no-isolation --outdir dist . >.venv/release/log || { cat .venv/release/log; exit 1; }
	.venv/release/bin/twine check --strict dist/*
	.venv/release/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	.venv/release/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose/compose.yaml
	.venv/release/bin/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml \
		--output-file dist/skyferry-$(VERSION).cdx.json requirements/image.txt
	cp requirements/constraints.txt dist/skyferry-$(VERSION).constraints.txt
	cd dist && sha256sum * > SHA256SUMS
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/skyferry/__init__.py)

image: ## Build the container image with docker, podman or buildah (BASE=IMAGE TAG=skyferry)
	@for tool in "docker build" "podman build --format docker" "buildah build --format docker"; do \
		$${tool%% *} info >/dev/null 2>&1 || continue; \
		exec $$tool --file deploy/container/Containerfile --tag $(TAG) $(if $(BASE),--build-arg BASE=$(BASE)) .; \
	done; echo "docker, podman or buildah is needed (docker with its daemon)"; exit 1
TAG ?= skyferry

base: ## Pin the newest base image in the Containerfile (asks the registry with docker buildx, or with skopeo, which comes with podman and buildah)
	@image=$$(sed -n 's/^# \(docker.io[^ ]*\) .*/\1/p' $(CONTAINERFILE)); \
	digest=$$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' $$image 2>/dev/null \
		|| skopeo inspect --no-tags --format '{{.Digest}}' docker://$$image) \
		|| { echo "docker buildx or skopeo is needed, and $$image must be reachable"; exit 1; }; \
	echo "$$digest" | grep -qE '^sha256:[0-9a-f]{64}$$' || { echo "$$image has no digest: $$digest"; exit 1; }; \
	sed -E "s|^(ARG BASE=)[^@]*@.*|\1$${image%:*}@$$digest|" $(CONTAINERFILE) >$(CONTAINERFILE).new && mv $(CONTAINERFILE).new $(CONTAINERFILE); \
	echo "$$image is $$digest"
CONTAINERFILE ?= deploy/container/Containerfile

lines:
	@find src tests bench tools -name '*.py' | xargs awk 'FNR == 401 { print FILENAME ": more than 400 lines"; bad = 1 } END { exit bad }'

lock: .venv/dev ## Resolve the dependencies again, to the newest versions that pyproject.toml allows
	@rm -f requirements/run.txt requirements/dev.txt requirements/docs.txt requirements/uv.txt requirements/build.txt requirements/image.txt requirements/scan.txt requirements/release.txt requirements/checkov.txt
	$(LOCK) --group build -o requirements/run.txt pyproject.toml
	$(LOCK) --group build --group dev --all-extras -c requirements/run.txt -o requirements/dev.txt pyproject.toml
	$(LOCK) --group docs -o requirements/docs.txt
	$(LOCK) --group release -o requirements/release.txt
	printf 'hatchling\npip\n' | $(LOCK) -c requirements/dev.txt -o requirements/build.txt -
	$(LOCK) $(addprefix --extra ,s3 gcs azure pubsub redis nats postgres push otel) -c requirements/dev.txt -o requirements/image.txt pyproject.toml
	sed -E 's/ \\$$//; /^ +--hash/d' requirements/image.txt >requirements/constraints.txt
	printf 'cyclonedx-bom\ndetect-secrets\npip-audit\n' | $(LOCK) -o requirements/scan.txt -
	echo checkov | $(LOCK) -o requirements/checkov.txt -
	echo uv | $(LOCK) -o requirements/uv.txt -
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

clean: ## Remove the environment and all caches; the workspace stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/env: requirements/uv.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	@echo "setting up .venv with $(PYTHON)"
	@if [ "$(UV)" = uv ]; then uv venv --quiet --allow-existing --python "$(PYTHON)" .venv; else \
		"$(PYTHON)" -m venv .venv && $(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt; fi
	@touch $@

.venv/run: .venv/env requirements/run.txt pyproject.toml
	@$(INSTALL) --require-hashes -r requirements/run.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/run requirements/dev.txt
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

.venv/release/done: .venv/env requirements/release.txt
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv/release
	@$(UV) pip install --quiet --python .venv/release/bin/python --require-hashes -r requirements/release.txt
	@touch $@

.venv/mkdocs/done: .venv/env requirements/docs.txt
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv/mkdocs
	@$(UV) pip install --quiet --python .venv/mkdocs/bin/python --require-hashes -r requirements/docs.txt
	@touch $@
