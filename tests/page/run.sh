#!/usr/bin/env bash
# Runs the tests of the engine's page in a headless Chromium; arguments go to `node --test`.
# INFILL_CHROMIUM names a Chromium to use instead of the system's, INFILL_PAGE_PICTURE where a picture is to go.
set -euo pipefail
cd "$(dirname "$0")"
test -n "${INFILL_CHROMIUM:-}" || command -v chromium > /dev/null || {
  echo "a Chromium is needed: apt-get install chromium, or INFILL_CHROMIUM" >&2
  exit 1
}
npm ci --no-audit --no-fund --loglevel error
exec node --test "$@" page.test.mjs
