#!/bin/sh
# Installs the agent from this archive into a virtual environment of its own. No internet is needed.
#
#   ./install.sh [DIRECTORY]        default /opt/shopfloor; PYTHON=python3.11 ./install.sh names the interpreter
#
# Running it again with a newer archive updates what is there. Gateway files, keys and data are never touched.
set -eu

cd "$(dirname "$0")"
. ./platform
directory=${1:-/opt/shopfloor}
python=${PYTHON:-python3}

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "there is no $python; install Python $PYTHON_VERSION first"
found=$("$python" -c 'import platform, sys, sysconfig
print("%d.%d" % sys.version_info[:2], sysconfig.get_platform().split("-")[-1], platform.libc_ver()[0] or "musl")')
wanted="$PYTHON_VERSION $MACHINE $LIBC"
[ "$found" = "$wanted" ] || fail "this archive is for Python $wanted, $python is $found; pack one for it"
if command -v sha256sum >/dev/null; then
    sha256sum -c SHA256SUMS >/dev/null || fail "the archive is damaged; copy it again"
fi

"$python" -m venv "$directory" || fail "$python cannot make virtual environments; on Debian: apt install python3-venv"
"$directory/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links wheels \
    --upgrade "shopfloor-evidence[agent]"
"$directory/bin/shopfloor" --version
echo "installed; next: $directory/bin/shopfloor agent check gateway.yaml, then see deploy/ for systemd and OpenWrt"
