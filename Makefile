# litfass: the verbs of docs/contract.md. Needs Go; `make test` installs the rest as far as it may.
GO ?= go
export CGO_ENABLED = 0
export GOFLAGS += -buildvcs=false
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BUILD = $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
CORE = notorrent,nosearch
REPORT = $(GO) run ./test/report

.PHONY: install run build build-core quick test test-deps check bench cross clean

run: build
	bin/litfass serve

build:
	$(BUILD) -o bin/litfass ./cmd/litfass

# program, manual, completion, systemd unit with its user, and a first configuration (an existing one stays)
PREFIX ?= /usr/local
install: build
	install -D -m 755 bin/litfass $(DESTDIR)$(PREFIX)/bin/litfass
	install -D -m 644 docs/litfass.1 $(DESTDIR)$(PREFIX)/share/man/man1/litfass.1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	bin/litfass completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/litfass
	bin/litfass completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_litfass
	bin/litfass completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/litfass.fish
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)/etc/litfass
	sed 's#/usr/local#$(PREFIX)#' packaging/litfass.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/litfass.service
	install -m 644 packaging/litfass.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/litfass.conf
	[ -e $(DESTDIR)/etc/litfass/litfass.toml ] || install -m 644 packaging/litfass.toml $(DESTDIR)/etc/litfass/litfass.toml

# without torrent and full-text search, for boxes with little flash
build-core:
	$(BUILD) -tags $(CORE) -o bin/litfass-core ./cmd/litfass

# the tests beside the code
quick:
	$(GO) test ./...

# everything: beside the code, again with the race detector where there is a C compiler, then real programs
test: test-deps
	@bash test/all.sh

test-deps:
	@bash test/deps.sh

check:
	@bash test/check.sh

# a whole node, and INN beside it where it can be had (docs/benchmarks.md); BENCH=full for all of it.
# PKG=./article/... : the Go benchmarks of packages instead
bench:
ifdef PKG
	$(GO) test -run '^$$' -bench . -benchmem -timeout 60m $(PKG)
else
	$(GO) run ./bench
endif

# os/arch/variant of the boxes that are out there
CROSS = linux/amd64 linux/arm64 linux/arm/5 linux/arm/7 linux/mips/softfloat linux/mipsle/softfloat linux/386 linux/riscv64
cross:
	@set -e; for t in $(CROSS); do \
	  IFS=/ read -r os arch variant <<< "$$t"; \
	  for b in litfass litfass-core; do \
	    tags=; [ $$b = litfass ] || tags=$(CORE); \
	    out=bin/cross/$$b-$$os-$$arch$${variant:+-$$variant}; \
	    GOOS=$$os GOARCH=$$arch GOARM=$$( [ $$arch = arm ] && echo $$variant ) GOMIPS=$$( [ "$${arch#mips}" != "$$arch" ] && echo $$variant ) \
	      $(BUILD) -tags "$$tags" -o $$out ./cmd/litfass; \
	    ls -l $$out | awk '{printf "%-44s %5.1f MiB\n", $$9, $$5/1048576}'; \
	  done; done
SHELL = bash

clean:
	rm -rf bin .cache
