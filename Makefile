# Filature: what one can do here. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ACCEPTANCE := gateway/tests/acceptance
CONTRACTS := billing/contracts
PYTHON := target/python/bin/python
UV := target/uv/bin/uv
UV_VERSION := 0.13.9
PORT ?= 8080
FUZZ_SECONDS ?= 60
# What the Rust tests' devnets executed, and how much of it there must be at least.
REPLAYS := target/replays
REPLAYS_LEAST := 2500

.PHONY: help demo demo-llm build test test-rust test-acceptance test-contracts test-replays contracts lint fmt bench bench-ledger bench-router bench-settle simulate faults fuzz docs requirements clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Run a gateway, four simulated providers and a TON devnet, from deposit to payout, until Ctrl-C (PORT=8080)
	@PORT=$(PORT) gateway/demo/demo.sh simulated

demo-llm: $(PYTHON) ## The same with a real model on this machine's processor
	@PORT=$(PORT) gateway/demo/demo.sh smollm2

build: ## Build everything, unoptimised
	cargo build --workspace --all-targets

test: test-rust test-acceptance test-contracts test-replays ## Install what tests need and run them all

test-rust: target/.packages ## Rust tests: units, HTTP, ledgers, documentation examples
	rm -rf $(REPLAYS) && mkdir -p $(REPLAYS)
	FILATURE_REPLAYS=$(CURDIR)/$(REPLAYS) cargo nextest run --workspace
	cargo test --workspace --doc

test-acceptance: target/.packages $(PYTHON) $(ACCEPTANCE)/node/node_modules/.package-lock.json ## Official Python and Node clients against four stacks
	cargo build --workspace --bins
	$(PYTHON) $(ACCEPTANCE)/run.py

test-contracts: $(CONTRACTS)/node_modules/.package-lock.json ## The settlement contract on the C++ executor: every path, attacks, random histories
	cd $(CONTRACTS) && npm test

test-replays: $(CONTRACTS)/node_modules/.package-lock.json ## Every message of the Rust tests' devnets again on the C++ executor (after test-rust)
	node $(CONTRACTS)/replays.mjs --least $(REPLAYS_LEAST) $(REPLAYS)

contracts: $(CONTRACTS)/node_modules/.package-lock.json ## Compile the settlement contract anew, with its test vectors and the table of its costs
	cd $(CONTRACTS) && npm run build && npm run vectors && npm run gas -- --write

lint: $(PYTHON) ## Formatting, clippy, dependencies, documentation, Python
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --version 0.20.2 --locked --debug
	cargo deny check bans licenses sources
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items
	$(PYTHON) -m ruff check --no-cache --config $(ACCEPTANCE)/ruff.toml gateway
	$(PYTHON) -m ruff format --no-cache --config $(ACCEPTANCE)/ruff.toml --check gateway

fmt: $(PYTHON) ## Format everything
	cargo fmt --all
	$(PYTHON) -m ruff check --no-cache --config $(ACCEPTANCE)/ruff.toml --fix gateway
	$(PYTHON) -m ruff format --no-cache --config $(ACCEPTANCE)/ruff.toml gateway

bench: ## Measure what the gateway adds to a call, next to nginx
	loadtest/bench.sh

bench-router: ## Measure what one decision of the router costs, at 4 to 10,000 providers
	cargo bench -p filature-router --bench route

bench-ledger: target/.packages ## Measure what a call costs the ledgers: pairs of reserve and post, CPU of each side
	cargo run --release -p filature-billing --example bench_ledger -- 10 target/bench/ledger.json

bench-settle: ## Measure what paying 5,000 providers costs on the devnet: fees per payee and per anchor, time
	cargo run --profile simulate -p filature-billing --example bench_settle -- target/bench/settle.json

simulate: ## Prove the router against the field's policies, in virtual time; tables, JSON and plots (ARGS="--quick")
	cargo run --profile simulate -p filature-loadtest -- simulate --out target/simulate $(ARGS)

faults: target/.packages $(PYTHON) ## Break and kill agents, engines, gateways and settlement; text and money must be whole
	cargo build --workspace --bins
	cargo nextest run -p filature-gateway --profile faults --run-ignored only --no-capture
	cargo nextest run -p filature-billing --profile faults --filterset 'binary(settle)' --ignore-default-filter --run-ignored only --no-capture

fuzz: target/.packages ## Try mutants of kept samples on every parser of outside bytes (FUZZ_SECONDS=60 for each target)
	FUZZ_SECONDS=$(FUZZ_SECONDS) cargo nextest run --workspace --profile fuzz

docs: ## Build the API documentation of the crates
	cargo doc --workspace --no-deps
	@echo "target/doc/filature_gateway/index.html"

requirements: $(UV) ## Pin the Python packages anew, after a change of a requirements.in
	for folder in gateway/demo $(ACCEPTANCE); do \
		options="--quiet --generate-hashes --python-version 3.11 --no-emit-index-url"; \
		if [ $$folder = gateway/demo ]; then options+=" --no-deps"; fi; \
		$(UV) pip compile $$options --custom-compile-command "make requirements" $$folder/requirements.in -o $$folder/requirements.txt; \
	done

clean: ## Remove everything that was built or installed here
	rm -rf target $(ACCEPTANCE)/node/node_modules $(CONTRACTS)/node_modules

# Debian packages, only where a program is missing.
target/.packages:
	@mkdir -p target
	command -v redis-server >/dev/null || { apt-get update -q && apt-get install -qy --no-install-recommends redis-server; }
	command -v cargo-nextest >/dev/null || cargo install cargo-nextest --locked --debug
	@touch $@

$(UV):
	python3 -m venv target/uv || { apt-get update -q && apt-get install -qy --no-install-recommends python3-venv && python3 -m venv target/uv; }
	target/uv/bin/python -m pip install --quiet uv==$(UV_VERSION)

$(PYTHON): $(UV) gateway/demo/requirements.txt $(ACCEPTANCE)/requirements.txt
	$(UV) venv --quiet --allow-existing --python python3 target/python
	$(UV) pip sync --quiet --require-hashes --python $(PYTHON) gateway/demo/requirements.txt $(ACCEPTANCE)/requirements.txt
	@touch $@

$(ACCEPTANCE)/node/node_modules/.package-lock.json $(CONTRACTS)/node_modules/.package-lock.json: %/node_modules/.package-lock.json: %/package-lock.json
	cd $* && npm ci --no-fund --no-audit
	@touch $@
