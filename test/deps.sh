#!/bin/bash
# Fetches what the tests want and is not here: one apt-get call, as root only. Nothing here fails the tests: what is
# missing is skipped by them, loudly.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
want=() unpack=()
while read -r kind a b; do
	case $kind in
	missing) command -v "$a" >/dev/null 2>&1 || want+=("$b") ;;
	path) [ -e "$a" ] || want+=("$b") ;;
	unpack) [ -d ".cache/debs/$a" ] || unpack+=("$a") ;;
	esac
done < <(grep -v '^#' test/packages.txt)

if [ ${#want[@]} -gt 0 ] || [ ${#unpack[@]} -gt 0 ]; then
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "test-deps: no apt-get here; tests will skip what needs: ${want[*]} ${unpack[*]}"
		exit 0
	fi
	[ "$(id -u)" != 0 ] || timeout 180 apt-get -qq update || echo "test-deps: apt-get update did not work, going on with what is here"
fi
if [ ${#want[@]} -gt 0 ]; then
	if [ "$(id -u)" = 0 ]; then
		echo "test-deps: installing ${want[*]}"
		DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -qq -y --no-install-recommends install "${want[@]}" >/dev/null ||
			echo "test-deps: could not install; tests will skip what is missing"
	else
		echo "test-deps: not root; tests will skip what needs: ${want[*]}"
	fi
fi
for p in "${unpack[@]}"; do
	tmp=$(mktemp -d) && chmod 755 "$tmp"
	if (cd "$tmp" && timeout 120 apt-get -qq download "$p" >/dev/null 2>&1) && mkdir -p ".cache/debs/$p" && dpkg-deb -x "$tmp"/*.deb ".cache/debs/$p"; then
		echo "test-deps: unpacked $p into .cache/debs"
	else
		rm -rf ".cache/debs/$p"
		echo "test-deps: could not fetch $p; tests will skip what needs it"
	fi
	rm -rf "$tmp"
done
if [ -f test/browser/package.json ]; then
	if command -v npm >/dev/null 2>&1; then
		[ -d test/browser/node_modules ] || (cd test/browser && timeout 300 npm ci --no-audit --no-fund --silent) ||
			echo "test-deps: npm ci did not work; browser tests will be skipped"
	else
		echo "test-deps: no npm; browser tests will be skipped"
	fi
fi
exit 0
