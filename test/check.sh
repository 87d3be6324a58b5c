#!/bin/bash
# What must hold before a commit lands: format, vet, staticcheck, floors, documents, generated files.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
fail=0
step() { # NAME, then the command; its output is an error's explanation
	local name=$1; shift
	local t=$SECONDS
	if "$@"; then echo "check: $name: good ($((SECONDS - t)) s)"; else echo "check: $name: BAD"; fail=1; fi
}
formatted() {
	local out
	out=$(gofmt -l $(git ls-files '*.go' 2>/dev/null || find . -name '*.go' -not -path './.cache/*')) || return 1
	[ -z "$out" ] || { echo "gofmt -w $out"; return 1; }
}
generated() {
	$go run ./cmd/litfass config print | diff -u docs/litfass.toml - ||
		{ echo "docs/litfass.toml differs: go run ./cmd/litfass config print > docs/litfass.toml"; return 1; }
}
# installed: make install puts all in place, its first configuration is sound, and systemd reads the unit
installed() {
	local d rc=0
	d=$(mktemp -d) || return 1
	make -s install DESTDIR="$d" PREFIX=/usr && "$d/usr/bin/litfass" --config "$d/etc/litfass/litfass.toml" config check || rc=1
	if command -v systemd-analyze > /dev/null; then
		sed "s#=/usr/bin#=$d/usr/bin#" "$d/usr/lib/systemd/system/litfass.service" > "$d/litfass.service"
		systemd-analyze verify --man=no "$d/litfass.service" || rc=1
	fi
	rm -rf "$d"
	return $rc
}
step gofmt formatted
step vet $go vet ./...
step "vet, core" $go vet -tags notorrent,nosearch ./cmd/...
step "vet, 32 bit" env GOARCH=386 $go vet -tags notorrent,nosearch ./...
step "vet, interop" $go vet -tags interop ./test/...
step staticcheck $go tool staticcheck ./...
step "floors, links, RFC table" $go test ./internal/floors
step "generated files" generated
step "make install" installed
exit $fail
