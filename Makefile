# sememcached. `make` alone lists the targets.

GO       ?= go
GOFLAGS  ?=
export CGO_ENABLED ?= 0
VERSION  := $(shell cat VERSION)
FUZZTIME ?= 10s
PORT     ?= 11211

# Debian packages: what the tests drive (clients, oracles, policy tools). The
# server itself needs none of them.
APT := memcached libmemcached-tools openssl checkpolicy secilc sepol-utils libsepol-dev \
       semodule-utils policycoreutils policycoreutils-python-utils \
       selinux-policy-default selinux-policy-mls selinux-policy-dev m4 \
       python3-pymemcache python3-binary-memcached nutcracker ruby ruby-dalli \
       $(shell command -v npm >/dev/null || echo nodejs npm) \
       netcat-openbsd strace gcc libc6-dev make zsh fish \
       qemu-system-x86 netlabel-tools iproute2 auditd redis-server systemd systemd-container debootstrap perl

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0

.DEFAULT_GOAL := help
.PHONY: help deps deps-test build run demo test race lint fuzz bench policies vm ci soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## download the Go modules
	@$(GO) mod download

# A machine may have some of the packages already; apt is asked only for those
# that are missing. Services that packages bring are not started.
deps-test: deps ## install the Debian packages that the tests use (needs root)
	@missing=""; for p in $(APT); do \
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "installing:$$missing"; \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && \
	  printf '#!/bin/sh\nexit 101\n' > .policy-rc && chmod +x .policy-rc && \
	  { [ -e /usr/sbin/policy-rc.d ] || { $$sudo cp .policy-rc /usr/sbin/policy-rc.d; made=1; }; \
	    DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; rc=$$?; \
	    [ -z "$$made" ] || $$sudo rm -f /usr/sbin/policy-rc.d; rm -f .policy-rc; exit $$rc; }; \
	fi

build: deps ## build the static binary ./sememcached
	$(GO) build $(GOFLAGS) -trimpath -ldflags '-s -w' -o sememcached .

run: build ## run a server on 127.0.0.1:$(PORT) with the built-in policy
	./sememcached -u "$$(id -un)" -l 127.0.0.1 -p $(PORT) -v

demo: build ## show policies at work: over-privilege, the rules, the denials (nothing else needed)
	@./sememcached demo

test: deps-test build ## run every test (installs what they need)
	$(GO) test -timeout 30m ./...

# Thousands of runs of secilc and libsepol teach the race detector nothing: they belong to test.
race: deps ## run the tests under the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 30m -skip '^Test(ExplainIsRight.*|.*AgainstSepol|DebianRoundTrip)$$' ./policy
	CGO_ENABLED=1 $(GO) test -race -timeout 30m ./avc ./mac ./storage/... ./engine/... ./protocol ./internal/...
	CGO_ENABLED=1 $(GO) test -race -timeout 30m -short ./server .

lint: deps ## formatting, vet and static analysis
	@out=$$($(GO) run $(GOFUMPT) -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofumpt would change:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags invariants ./storage
	$(GO) run $(STATICCHECK) -checks all,-ST1003 ./...

# go test calls it a failure, "context deadline exceeded" without an input, when the time is up in the
# middle of an input; that alone is none.
# FuzzFraming is left to soak: it looks for what a live memcached 1.6.18 does otherwise, and every
# old habit of that release that it finds has to be judged by somebody.
fuzz: deps ## run each fuzz target for FUZZTIME (default 10s)
	@for f in $$(git grep -l '^func Fuzz' -- '*_test.go'); do \
	  for t in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$f | grep -v '^FuzzFraming$$'); do \
	    echo "$$t in $$(dirname $$f)"; \
	    out=$$(mktemp); \
	    $(GO) test ./$$(dirname $$f) -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x >$$out 2>&1; rc=$$?; \
	    if [ $$rc = 0 ]; then tail -2 $$out; \
	    elif ! grep -q 'Failing input' $$out && grep -q '^ *context deadline exceeded$$' $$out; then \
	      grep '^fuzz: elapsed' $$out | tail -1; echo "ok: no input failed (go test ran into its own time limit)"; \
	    else cat $$out; rm -f $$out; exit 1; fi; \
	    rm -f $$out; \
	  done; \
	done

bench: build ## side by side with memcached: ratios in one run (10 minutes)
	$(GO) run ./bench/sidebyside -notes bench/NOTES.md -results bench/RESULTS.md -json bench/results.json -svg bench/charts

.PHONY: bench-full bench-guard
bench-full: bench ## bench, two and four unpinned threads, the price of access control, 5M items, growth, TLS
	$(GO) run ./bench/sidebyside -threads 2 -pin=false -results bench/RESULTS-2threads.md -json bench/results-2threads.json -memory ''
	$(GO) run ./bench/sidebyside -threads 4 -pin=false -strace=false -memcslap=false -results bench/RESULTS-4threads.md -memory ''
	RIVALS="macoff=./sememcached --mac off" $(GO) run ./bench/sidebyside -rows get,get90,set,mget24,mget100,pipe16 -strace=false -memory 5000000 -results bench/RESULTS-mac.md -json bench/results-mac.json
	$(GO) run ./bench/growth -results bench/RESULTS-growth.md
	$(GO) run ./bench/tls -results bench/RESULTS-tls.md

.PHONY: bench-policy
bench-policy: deps ## loading and deciding beside libsepol (a minute)
	$(GO) test -count=1 ./policy -run '^TestCost$$' -cost $(CURDIR)/bench/RESULTS-policy.md

bench-guard: build ## a minute side by side; fails below floors far from the noise
	$(GO) run ./bench/guard

policies: ## rebuild the compiled policies (default policy and test policies)
	secilc -M true -c 33 -o policy/default.bin -f /dev/null policy/default.cil
	sh policy/testdata/rebuild.sh
	for p in site old other; do secilc -M true -c 33 -o docs/examples/$$p.policy -f /dev/null docs/examples/$$p.cil || exit 1; done

# go test's own lines come last.
ci: deps-test lint build ## what continuous integration runs
	$(MAKE) race
	$(MAKE) fuzz FUZZTIME=20s
	$(MAKE) vm
	$(GO) run ./bench/soak -duration 2m -dir ''
	$(GO) run ./bench/idle -quiet 3s -worse 20
	@echo "checked without an oracle:"; $(GO) test -count=1 -v -run '^TestVersions34And35$$' ./policy | grep 'no oracle'
	$(GO) run ./bench/differential -duration 2m -dir ''
	$(MAKE) bench-guard
	$(GO) test -count=1 -timeout 30m ./...

vm: deps-test ## boot an SELinux kernel in QEMU and run the server there (needs apt-get download)
	$(GO) vet -tags vm ./server/vmtest
	CGO_ENABLED=0 $(GO) test -tags vm -count=1 -v -timeout 50m -run '^Test(VM|Judge|AuditdLine)$$' ./server/vmtest

.PHONY: debian-root
debian-root: deps-test build ## Debian's unit and memcached.conf in a clean, booted Debian, beside memcached (2 to 8 minutes, root)
	@sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; $$sudo packaging/debian-root/run.sh ./sememcached

.PHONY: bench-kernel
bench-kernel: deps-test ## what a real kernel's decisions cost, in the VM (10 minutes)
	CGO_ENABLED=0 VMTEST_RUN=TestCost VMTEST_SECONDS=2 VMTEST_COST=$(CURDIR)/bench/RESULTS-kernel.md $(GO) test -tags vm -count=1 -v -timeout 50m -run '^TestVM$$' ./server/vmtest

.PHONY: policy-long
policy-long: deps-test ## Debian's policies at every version, 200,000 questions each (20 minutes)
	$(GO) test -count=1 -timeout 1h -v ./policy -run '^Test(DebianRoundTrip|DebianAgainstSepol)$$' -everyversion -queries 200000

# A build that times the locks of the store; fails if locks were held for more than 200 µs of the processor more often
# than that happens to calculations without a lock.
.PHONY: stall
STALL_ITEMS ?= 5000000
stall: deps ## how long locks are held, by phase, with 5M items (minutes); its log goes to bench/runs
	@log=bench/runs/stall-$$(date -u +%Y%m%d-%H%M%S)-$$(git rev-parse --short=12 HEAD).log; \
	{ echo "command   make stall STALL_ITEMS=$(STALL_ITEMS)"; \
	  echo "commit    $$(git rev-parse --short=12 HEAD)$$(git diff --quiet HEAD || echo +), $$($(GO) env GOVERSION), $$(nproc) processors"; \
	  echo "start     $$(date -u +%Y-%m-%dT%H:%M:%SZ)"; } >$$log; \
	STORAGE_ITEMS=$(STALL_ITEMS) $(GO) test -tags invariants -count=1 -timeout 1h -v -run '^TestHolds$$' ./storage >>$$log 2>&1; rc=$$?; \
	cat $$log; exit $$rc

soak: build policy-long stall ## the long runs (hours); logs go to bench/runs
	$(GO) run ./bench/soak
	$(GO) run ./bench/crash -rounds 300 -log bench/runs/crash.log
	$(GO) run ./bench/differential
	$(GO) run ./bench/robust
	$(MAKE) debian-root
	$(GO) test . -run '^$$' -fuzz '^FuzzFraming$$' -fuzztime 10m -fuzzminimizetime 10x

.PHONY: bench-memory bench-hitratio
bench-memory: build ## memory side by side with memcached (half an hour)
	$(GO) run ./bench/memory -out bench/RESULTS-memory.md

bench-hitratio: build ## hit ratios side by side with memcached
	$(GO) run ./bench/hitratio -m 16 -out bench/RESULTS-hitratio.md

clean: ## remove what was built
	rm -rf sememcached sememcached.race build
