# kgents: `make run` to see it, `make test` to check it. `make help` lists the rest.

GO      ?= go
BIN     := bin/kgents
LDFLAGS := -s -w
export CGO_ENABLED ?= 0

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build bin/kgents, one static binary
	@mkdir -p bin
	$(GO) build -buildvcs=auto -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/kgents

.PHONY: run
run: build ## Build and run everything on this machine, with a demo
	./$(BIN) up --demo

.PHONY: test
test: ## Install what the tests need and run everything: vet, staticcheck, race detector, crash tests
	@./scripts/test

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@./scripts/lint

.PHONY: fuzz
fuzz: ## Fuzz every decoder for a minute each (FUZZTIME=10m for longer)
	@./scripts/fuzz

.PHONY: crash
crash: ## Kill the program at random moments (ROUNDS=200 for more)
	CGO_ENABLED=1 $(GO) test ./e2e -race -count=1 -timeout 60m -run TestCrash -rounds $(or $(ROUNDS),200) -v

.PHONY: chaos
chaos: ## Every fault under load, against a ledger: docs/saas/guarantees.md (ROUNDS=1 for a look)
	@./scripts/chaos

.PHONY: firedrill
firedrill: ## Make every alert fire by its real cause, and resolve: the table in docs/saas/alerts.md (SCENE=nats for some)
	$(GO) test ./firedrill -count=1 -timeout 60m -run TestFireDrill -all -v $(if $(SCENE),-scene '$(SCENE)',-table $(CURDIR)/docs/saas/alerts.md)

.PHONY: e2e
e2e: ## Deploy to a real Kubernetes cluster, and do to it all that may happen, under load (ARGS=-brief for the short form)
	@./scripts/e2e $(ARGS)

.PHONY: bench
bench: ## Measure, as a table: docs/benchmarks.md
	@./scripts/bench

.PHONY: eval
eval: ## How well the shell finds what people mean: questions, typos, latency (MISSED=1 lists what it missed)
	@./scripts/eval

.PHONY: cross
cross: ## Build for every supported platform
	@for p in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do \
		echo "$$p"; GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -trimpath -o /dev/null ./cmd/kgents || exit 1; \
	done
