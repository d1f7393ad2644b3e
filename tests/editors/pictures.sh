#!/usr/bin/env bash
# Makes the pictures and recordings of the documentation anew, from the real editors: `make pictures`, which
# sets up what is needed. Look at them before they are committed.
#
#   pictures.sh CACHE     where the editors are
set -euo pipefail
cache=$1
cd "$(dirname "$0")/../.."
export PATH="$cache/node24/bin:$PATH" INFILL_EDITORS_CACHE="$cache"
.venv/bin/python -m tests.editors.neovim.recording "$cache/neovim-forky/usr/bin/nvim" editors/neovim/recording.svg
cd tests/editors/vscode
npm ci --no-audit --no-fund --loglevel error
node pictures.mjs
