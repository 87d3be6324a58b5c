#!/bin/sh
# Runs "go mod tidy" for the main module although go-utp cannot be had: tidy does
# not look at go.work, so it works on copies that hold a replace directive, which
# is taken out again. Run from the repository's root.
set -eu
trap 'rm -f tidy.mod tidy.sum' EXIT
cp go.mod tidy.mod
cp go.sum tidy.sum
go mod edit -replace github.com/anacrolix/go-utp=./torrent/standin tidy.mod
GOWORK=off go mod tidy -modfile=tidy.mod
# With an own requirement of go-utp in go.mod, builds under go.work look for the real one (seen with Go 1.26.8).
go mod edit -dropreplace github.com/anacrolix/go-utp -droprequire github.com/anacrolix/go-utp tidy.mod
mv tidy.mod go.mod
mv tidy.sum go.sum
