#!/bin/bash
# All tests, in three runs; each is summed up by test/report, which names and counts what was skipped, and runs a
# test that failed a second time, alone (docs/testing.md says when and why).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
mkdir -p .cache
$go build -o .cache/report ./test/report || exit 1
fail=0
part() { # NAME, then the command, whose last argument is the packages
	.cache/report "$@" || fail=1
}
part "beside the code" $go test -json -timeout 15m ./...
if command -v "${CC:-gcc}" >/dev/null 2>&1; then
	part "race detector" env CGO_ENABLED=1 $go test -json -race -short -tags notorrent,nosearch -timeout 15m ./...
else
	echo "SKIPPED: the race detector's run; it needs a C compiler: apt-get install gcc libc6-dev"
fi
# real programs one package at a time: they measure and wait
part "real programs" $go test -json -p 1 -count 1 -tags interop -timeout 20m ./test/...
exit $fail
