#!/usr/bin/env bash
# System packages that tests use: libzbar0 (the camera's second decoder), iproute2 (network namespaces).
set -euo pipefail
packages=(libzbar0 iproute2)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "tests need ${missing[*]}: install them with this system's package manager" >&2
    exit 0
fi
run=()
[ "$(id -u)" -eq 0 ] || run=(sudo -n)
if ! { "${run[@]}" apt-get update -qq && "${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1; then
    echo "tests need ${missing[*]}, which could not be installed: sudo apt-get install ${missing[*]}" >&2
fi
