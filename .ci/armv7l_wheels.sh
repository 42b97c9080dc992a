#!/bin/sh
# Builds the wheels for 32-bit ARM that need a compiler and that the package index lacks, in an emulated Debian, as root:
#
#   .ci/armv7l_wheels.sh CACHE      prints the directory with the wheels; then:
#   PIP_FIND_LINKS=DIRECTORY shopfloor agent pack --platform armv7l --output agent.tar.gz
#
# For Python 3.11, that of Debian 12. Needs the packages qemu-user-static and binfmt-support; takes ten minutes or so the
# first time. PYTHON names the interpreter whose pip fetches the source (python3).
set -eu

suite=bookworm
packages="cffi"

[ $# -eq 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
. "$(dirname "$0")/debian_root.sh"
mkdir -p "$1"
cache=$(cd "$1" && pwd)
root=$cache/$suite-armhf

[ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e /proc/sys/fs/binfmt_misc/qemu-arm ] || update-binfmts --enable qemu-arm ||
    { echo "this machine cannot run programs for ARM: apt install qemu-user-static binfmt-support" >&2; exit 3; }

exec 9>"$cache/lock"
flock 9
if [ ! -d "$root" ]; then
    fresh_root "$root" "$cache/build.log" "$suite" --arch=armhf \
        --include=gcc,libc6-dev,libffi-dev,python3-dev,python3-pip
    keep_root "$root"
fi
rm -rf "$root/sources" "$root/wheels"
for package in $packages; do
    "${PYTHON:-python3}" -m pip download --quiet --no-deps --no-binary "$package" --dest "$root/sources" "$package" >&2
done
# What builds them: Debian's own is too old for sources of today.
"${PYTHON:-python3}" -m pip download --quiet --no-deps --only-binary :all: --dest "$root/sources" setuptools wheel >&2
chroot "$root" pip wheel --quiet --no-index --find-links /sources --no-deps --wheel-dir /wheels $packages >&2
echo "$root/wheels"
