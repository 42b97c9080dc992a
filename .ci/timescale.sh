#!/bin/sh
# Makes a real TimescaleDB server available on a Debian machine, as root:
#
#   .ci/timescale.sh start CACHE   builds a Debian root under CACHE (once), starts the server in it, prints its URL
#   .ci/timescale.sh stop CACHE    stops the server
#
# The packages are Debian's own (PostgreSQL 17, TimescaleDB's Apache-licensed edition), fetched from the mirror, through
# the proxy and with the keys that this machine's apt is configured with. Nothing outside CACHE is changed, except that
# debootstrap is installed when it is missing.
set -eu

suite=trixie
version=17

[ $# -eq 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
. "$(dirname "$0")/debian_root.sh"
action=$1
mkdir -p "$2"
cache=$(cd "$2" && pwd)
root=$cache/$suite
data=/var/lib/postgresql/shopfloor
binaries=/usr/lib/postgresql/$version/bin

as_postgres() {
    exec chroot "$root" setpriv --reuid postgres --regid postgres --init-groups env LC_ALL=C.UTF-8 "$@"
}

running() {
    pid=$(sed -n 1p "$root$data/postmaster.pid" 2>/dev/null) && [ -n "$pid" ] &&
        [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$root$data" ]
}

build() {
    fresh_root "$root" "$cache/build.log" "$suite"
    # No service may start while packages are installed.
    printf '#!/bin/sh\nexit 101\n' >"$root.unfinished/usr/sbin/policy-rc.d"
    chmod +x "$root.unfinished/usr/sbin/policy-rc.d"
    apt-config dump | grep -E '^Acquire::(http|https|Check|Retries)' >"$root.unfinished/etc/apt/apt.conf.d/90machine" || true
    chroot "$root.unfinished" sh -e >>"$cache/build.log" 2>&1 <<-COMMANDS ||
	export DEBIAN_FRONTEND=noninteractive
	apt-get update
	apt-get install -y --no-install-recommends postgresql-common
	echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
	apt-get install -y --no-install-recommends postgresql-$version postgresql-$version-timescaledb
	apt-get clean
COMMANDS
        { tail -n 20 "$cache/build.log" >&2; exit 3; }
    keep_root "$root"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start() {
    [ -d "$root" ] || build
    if ! running; then
        port=$(free_port)
        rm -f "$root$data/postmaster.pid"
        if [ ! -f "$root$data/PG_VERSION" ]; then
            (as_postgres "$binaries/initdb" -D "$data" --auth=trust --encoding=UTF8 --locale=C >>"$cache/build.log")
        fi
        # The server must hold none of our descriptors: who reads our output through a pipe waits for its last holder.
        (
            exec >"$cache/server.log" 2>&1 </dev/null 9>&-
            as_postgres "$binaries/postgres" -D "$data" \
                -c listen_addresses=127.0.0.1 -c port="$port" -c unix_socket_directories= \
                -c shared_preload_libraries=timescaledb -c timescaledb.telemetry_level=off \
                -c dynamic_shared_memory_type=mmap -c timezone=UTC
        ) &
        waited=0
        until [ "$(sed -n 8p "$root$data/postmaster.pid" 2>/dev/null | tr -d ' ')" = ready ]; do
            waited=$((waited + 1))
            [ $waited -lt 300 ] || { tail -n 20 "$cache/server.log" >&2; exit 3; }
            sleep 0.2
        done
    fi
    echo "postgresql://postgres@127.0.0.1:$(sed -n 4p "$root$data/postmaster.pid")/postgres"
}

stop() {
    running || return 0
    kill -INT "$pid"
    while running; do sleep 0.1; done
}

exec 9>"$cache/lock"
flock 9
case $action in
    start) start ;;
    stop) stop ;;
    *) echo "unknown action $action: start or stop" >&2; exit 2 ;;
esac
