# Makes Debian roots on a Debian machine, as root; sourced by the scripts that need one.
#
# Packages are fetched from the mirror, through the proxy and with the keys that this machine's apt is configured with.
# A root that is made stands under its name with .unfinished behind it until keep_root; what an interrupted build left
# is removed by the next one.

apt_setting() {
    apt-config shell value "$1" | sed -n "s/^value='\(.*\)'$/\1/p"
}

# The first http(s) source of this machine that offers Debian's main archive, not its security or third-party ones.
mirror() {
    apt-get indextargets --format '$(REPO_URI) $(SUITE)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
        awk '$1 ~ /^https?:/ && $2 !~ /security|updates|backports/ { sub("/$", "", $1); print $1; exit }'
}

# debootstrap mounts /proc in the root that it makes.
unmount_root() { # root
    umount "$1.unfinished/proc" "$1.unfinished/sys" 2>/dev/null || true
}

fresh_root() { # root, log, suite, options of debootstrap...
    fresh=$1 fresh_log=$2 fresh_suite=$3
    shift 3
    if ! command -v debootstrap >/dev/null; then
        apt-get update -q >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends debootstrap >&2
    fi
    from=$(mirror)
    if [ -z "$from" ]; then
        apt-get update -q >&2
        from=$(mirror)
    fi
    [ -n "$from" ] || { echo "no Debian mirror found in this machine's apt configuration" >&2; exit 3; }

    proxy=$(apt_setting Acquire::http::Proxy)
    [ -z "$proxy" ] || export http_proxy="$proxy"
    proxy=$(apt_setting Acquire::https::Proxy)
    [ -z "$proxy" ] || export https_proxy="$proxy"

    unmount_root "$fresh"
    rm -rf --one-file-system "$fresh.unfinished"
    debootstrap --force-check-gpg --variant=minbase "$@" "$fresh_suite" "$fresh.unfinished" "$from" >"$fresh_log" 2>&1 ||
        { tail -n 20 "$fresh_log" >&2; exit 3; }
}

keep_root() { # root
    unmount_root "$1"
    mv "$1.unfinished" "$1"
}
