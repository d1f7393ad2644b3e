#!/bin/sh
# Unpack Debian packages of another release, and all they depend on, into a folder of its own.
#
#   debian_package.sh PACKAGES SUITE FOLDER    e.g. debian_package.sh neovim forky .cache/editors/neovim-forky
#
# Nothing is installed: apt is given an empty list of installed packages, so that it fetches the whole
# closure, the C library included, and programs are pointed at that through their own loader. Needs apt,
# dpkg and patchelf; no root. What is there already is kept.
set -eu
package=$1 suite=$2 folder=$3
test -e "$folder/.complete" && exit 0
rm -rf "$folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
apt=$folder/.apt
mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/etc"
: > "$apt/status"
uri=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
  sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\).*/\2/p' | head -1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${uri:-https://deb.debian.org/debian} $suite main" \
  > "$apt/etc/sources.list"
cat > "$apt/apt.conf" <<CONF
Dir::State "$apt/state"; Dir::State::status "$apt/status"; Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/etc/sources.list"; Dir::Etc::sourceparts "/dev/null";
Acquire::Languages "none"; APT::Install-Recommends "false"; APT::Sandbox::User "";
CONF
APT_CONFIG=$apt/apt.conf
export APT_CONFIG
apt-get -qq update
# Several, separated by blanks, are taken together.
apt-get -qq -y --download-only install $package
for archive in "$apt"/cache/archives/*.deb; do dpkg -x "$archive" "$folder"; done
rm -rf "$apt"
loader=$(find "$folder/usr/lib" "$folder/lib" -name 'ld-linux-*.so.*' 2>/dev/null | head -1)
libraries=$(dirname "$loader")
for program in "$folder"/usr/bin/* ; do
  program=$(readlink -f "$program") || continue
  # Scripts stay as they are, and so does what a link names outside.
  case $program in "$folder"/*) ;; *) continue ;; esac
  ! patchelf --print-interpreter "$program" > /dev/null 2>&1 ||
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$program"
done
touch "$folder/.complete"
