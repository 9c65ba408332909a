#!/usr/bin/env bash
# System packages that tests use. Without them the tests that need them are skipped, each with its reason.
set -euo pipefail
# libzbar0: the camera's second decoder; iproute2: network interfaces that lose their far end; nats-server: feeds by NATS;
# espeak-ng, alsa-utils: prompts are made and played; pcscd, vsmartcard-vpcd: a PC/SC service and its virtual reader; gcc,
# swig, libpcsclite-dev: pyscard is built.
packages=(libzbar0 iproute2 nats-server espeak-ng alsa-utils pcscd vsmartcard-vpcd gcc swig libpcsclite-dev)
# A distribution's own Python keeps its headers in a package of their own.
python=.venv/bin/python
if [ -x $python ] && ! $python -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2>/dev/null; then
    packages+=("$($python -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')")
fi
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "tests need ${missing[*]}: install them with this system's package manager" >&2
    exit 0
fi
echo "installing system packages that the tests need: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
    [ -t 0 ] || as_root+=(-n) # nobody is there to type a password
fi
get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}
install() {
    "${as_root[@]}" apt-get update -qq || return
    get "${missing[@]}" && return
    # A release may lack one of them: the others all the same, and the last line is of one that is lacking.
    local failed=()
    for package in "${missing[@]}"; do get "$package" >/dev/null 2>&1 || failed+=("$package"); done
    [ ${#failed[@]} -eq 0 ] || { get "${failed[@]}"; return 1; }
}
if ! said=$(install 2>&1 </dev/null); then
    echo "could not install ${missing[*]} ($(tail -n 1 <<<"$said")): tests that need them will be skipped." \
        "Remedy: as root, apt-get install ${missing[*]}" >&2
fi
