#!/bin/sh
# Makes the Debian that the lane `hosts` boots and builds containers from, as root:
#
#   .ci/host_root.sh CACHE      builds it under CACHE (once), prints its directory
#
# It is Debian 12 with systemd and Python 3.11, the oldest that the agent runs on. Nothing outside CACHE is changed, except
# that debootstrap is installed when it is missing.
set -eu

suite=bookworm

[ $# -eq 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
. "$(dirname "$0")/debian_root.sh"
mkdir -p "$1"
cache=$(cd "$1" && pwd)
root=$cache/$suite

exec 9>"$cache/lock"
flock 9
if [ ! -d "$root" ]; then
    fresh_root "$root" "$cache/build.log" "$suite" --include=systemd,systemd-sysv,dbus,python3,python3-venv
    rm -rf "$root.unfinished/var/cache/apt/archives" "$root.unfinished/var/lib/apt/lists"
    keep_root "$root"
fi
echo "$root"
