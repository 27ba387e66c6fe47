# PlanetServe: two commands on a fresh machine are `make localnet` and `make test`.
# Needs make and Python 3.11 or 3.12; everything else is fetched, hash-checked and cached by `make setup`.

PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$python && break; done)
ifeq ($(strip $(PYTHON)),)
PYTHON := python3
endif
SETUP = $(PYTHON) -m localnet.setup
BIN = .venv/bin
LOCKING = --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

.PHONY: setup
setup: ## Make the virtual environment, CometBFT and the model files (cached; safe to repeat)
	@$(SETUP)

.PHONY: localnet
localnet: setup ## Start the whole network on this machine and ask it one prompt (ARGS="--port-base 12000")
	@$(BIN)/planetserve localnet up $(ARGS)

.PHONY: localnet-down
localnet-down: ## End every process that `make localnet` started, and only those (ARGS="--wipe")
	@if [ -x $(BIN)/planetserve ]; then $(BIN)/planetserve localnet down $(ARGS); else echo "nothing to stop: this checkout is not set up"; fi

.PHONY: test
test: setup-dev ## Run every test that takes minutes in all, the localnet's included
	@$(BIN)/pytest -m "not slow"

.PHONY: test-slow
test-slow: setup-dev ## Run the tests that take long (faults of every kind, 10^5 blocks, vLLM on a CPU)
	@$(BIN)/pytest -m slow

.PHONY: test-comet-next
test-comet-next: setup-dev ## Run the ledger's tests on CometBFT v0.40.0, the line after the pinned one
	@COMETBFT_VERSION=0.40.0 $(SETUP) --only cometbft
	@COMETBFT_VERSION=0.40.0 $(BIN)/pytest -m "not slow" tests/abci_app

.PHONY: faults
faults: setup-dev ## Run every fault with real processes (ARGS="-k f06"; root for namespaces and full disks)
	@$(BIN)/pytest -m "slow or not slow" tests/abci_app/faults $(ARGS)

.PHONY: fuzz
fuzz: setup-env ## Bend inputs until a decoder breaks, one fuzzer per decoder (INPUTS=100000 TARGET=light/)
	@$(BIN)/python -m evals.fuzz --inputs $(or $(INPUTS),100000) $(if $(TARGET),--target $(TARGET)) $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: soak
soak: setup-env ## One application process through 100,000 blocks: memory, descriptors, files (BLOCKS=100000)
	@$(BIN)/python -m evals.ledger.simulator.soak --blocks $(or $(BLOCKS),100000)

.PHONY: test-quick
test-quick: setup-env ## Run the tests that start no network
	@$(BIN)/pytest -m "not slow and not e2e"

.PHONY: lint
lint: setup-env ## Check style, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest tests/architecture

.PHONY: proto
proto: setup-env ## Generate the protobuf code of abci_app/abci/pb again
	@$(BIN)/python -m grpc_tools.protoc -Iabci_app/abci/pb=abci_app/abci/proto --python_out=. --pyi_out=. \
		abci_app/abci/proto/types.proto abci_app/abci/proto/abci.proto

.PHONY: bench-forwarding
bench-forwarding: setup-env ## Our fronts beside other routers over the same engines (ARGS="--quick", OUTPUT=json)
	@$(BIN)/python -m evals.forwarding.routers install $(if $(OUTPUT),>&2)
	@$(BIN)/python -m evals.forwarding.bench_routers $(ARGS) $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-index
bench-index: setup-env ## Time fingerprints and the HR-Tree (OUTPUT=json)
	@$(BIN)/python -m evals.forwarding.bench_index $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-decide
bench-decide: setup-env ## Time the routing decision (OUTPUT=json)
	@$(BIN)/python -m evals.forwarding.bench_decide $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: sync-bytes
sync-bytes: setup-env ## Count the bytes that nodes tell one another over an hour of recorded traffic (OUTPUT=json)
	@$(BIN)/python -m evals.forwarding.sync_bytes $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-sync
bench-sync: setup-env ## Time what the exchange costs one of 64 members (OUTPUT=json)
	@$(BIN)/python -m evals.forwarding.bench_sync $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-front
bench-front: setup-env ## CPU of fronts per request (OUTPUT=json)
	@$(BIN)/python -m evals.forwarding.bench_front $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: eval-forwarding
eval-forwarding: setup ## Four policies on real engines through localnets; goes on where it stopped (ARGS="--quick", OUTPUT=json)
	@$(BIN)/python -m evals.forwarding.ablation $(ARGS) $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: simulate-forwarding
simulate-forwarding: setup-evals ## Forwarding through an hour of recorded traffic (TABLES="entries policies churn confidential")
	@$(BIN)/python -m evals.forwarding.tables $(or $(TABLES),entries policies churn confidential)

.PHONY: liars
liars: setup-env ## What lying model nodes gain, with the defences and without (OUTPUT=json)
	@$(BIN)/python -m evals.forwarding.liars $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-overlay
bench-overlay: setup-env ## Time cloves, relays and circuits against their limits (OUTPUT=json)
	@$(BIN)/python -m evals.overlay.bench_overlay $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: attacks
attacks: setup-env ## Make every attack on the overlay, with its defence and without (ONLY=tagging OUTPUT=json)
	@$(BIN)/python -m evals.adversary $(if $(ONLY),--only $(ONLY)) $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: chaos
chaos: setup-env ## Let relays die, drop, delay and alter at random while users ask, in virtual time (SEEDS=6 MINUTES=5)
	@$(BIN)/python -m evals.adversary.chaos --seeds $(or $(SEEDS),6) --minutes $(or $(MINUTES),5)

.PHONY: churn
churn: setup-env ## Let relay processes die, hang, come and return while users ask (OUTPUT=json)
	@$(BIN)/python -m evals.overlay.churn $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: eval-anonymity
eval-anonymity: setup-evals ## Measure one claim of evals/anonymity and draw it (NAME=entropy, delivery, linkage, ...; OUTPUT=json)
	@$(BIN)/python -m evals.anonymity.$(or $(NAME),entropy) $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: soak-overlay
soak-overlay: setup-env ## An overlay of processes at work for an hour: tables and memory (MINUTES=60)
	@$(BIN)/python -m evals.overlay.soak --minutes $(or $(MINUTES),60)

.PHONY: bench-paths
bench-paths: setup-env ## Time the choice of paths by the directory's size (OUTPUT=json)
	@$(BIN)/python -m evals.overlay.bench_paths $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-gossip
bench-gossip: setup-env ## Time what listening to heartbeats costs by the directory's size (OUTPUT=json)
	@$(BIN)/python -m evals.overlay.bench_gossip $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-links
bench-links: setup-env ## Time links on either event loop, with and without TLS (OUTPUT=json)
	@$(BIN)/python -m evals.overlay.bench_links $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-tor
bench-tor: setup-env ## Time the overlay beside a private Tor network (needs Debian's tor; OUTPUT=json)
	@$(BIN)/python -m evals.overlay.bench_tor $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-ledger
bench-ledger: setup-env ## Time the ledger beside CometBFT's own kvstore, 4 validators each (OUTPUT=json)
	@$(SETUP) --only cometbft $(if $(OUTPUT),>&2)
	@$(BIN)/python -m evals.ledger.bench_ledger $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-light
bench-light: setup-env ## Time the light client: skipping, and proven reads over a real chain (OUTPUT=json)
	@$(SETUP) --only cometbft $(if $(OUTPUT),>&2)
	@$(BIN)/python -m evals.light.bench_light $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-snapshots
bench-snapshots: setup-env ## Time snapshots, restore and the full check (OUTPUT=json)
	@$(BIN)/python -m evals.ledger.bench_snapshots $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: lock
lock: ## Resolve the dependencies again into requirements*.txt (needs uv)
	@printf 'hatchling>=1.27\neditables>=0.5\n' > .lock-build.in
	@uv pip compile -q pyproject.toml .lock-build.in $(LOCKING) -o requirements.txt
	@uv pip compile -q pyproject.toml .lock-build.in --group dev $(LOCKING) -o requirements-dev.txt
	@uv pip compile -q pyproject.toml .lock-build.in --group dev --group evals $(LOCKING) -o requirements-evals.txt
	@rm .lock-build.in

.PHONY: setup-dev
setup-dev: ## Like setup, with the tools of tests and linting
	@$(SETUP) --dev

.PHONY: setup-env
setup-env: ## Only the virtual environment, with the tools of tests and linting
	@$(SETUP) --dev --only environment >&2

.PHONY: setup-evals
setup-evals: ## Only the virtual environment, with what evaluations draw and count with
	@$(SETUP) --evals --only environment >&2

.PHONY: clean
clean: ## Remove what tools cached inside the checkout (not .venv, not .localnet)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
