#!/usr/bin/env bash
# Sets up what the tests need and runs them; arguments go to `node --test`. `make vsix` comes first.
set -euo pipefail
cd "$(dirname "$0")"
repository="$(cd ../../.. && pwd)"
./setup.sh
export PATH="${INFILL_EDITORS_CACHE:-$repository/.cache/editors}/node24/bin:$PATH"
npm ci --no-audit --no-fund --loglevel error
# One after the other: every file starts an editor and a browser.
exec node --test --test-concurrency=1 "$@" ./*.test.mjs
