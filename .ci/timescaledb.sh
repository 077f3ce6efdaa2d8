#!/bin/sh
# Makes a real TimescaleDB available for the store's contract tests.
#
#   .ci/timescaledb.sh [start]   prints its postgresql:// address on stdout
#   .ci/timescaledb.sh stop      ends it
#
# A Debian trixie with postgresql-17-timescaledb is unpacked once into a cached
# folder and runs under chroot on a loopback port; packages come from where
# this machine's apt takes its own. Needs root, and Debian or Ubuntu.
#
#   GREENLIGHT_TIMESCALEDB_HOME  the cached folder
#   GREENLIGHT_TIMESCALEDB_PORT  the port (55432)
set -eu

home=${GREENLIGHT_TIMESCALEDB_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/greenlight-ci/timescaledb}
port=${GREENLIGHT_TIMESCALEDB_PORT:-55432}
root=$home/root
data=/var/lib/greenlight/data
bin=/usr/lib/postgresql/17/bin
url="postgresql://postgres@127.0.0.1:$port/postgres"

say() { echo "timescaledb: $*" >&2; }
fail() { say "$*"; exit 1; }
inside() { chroot "$root" /usr/sbin/runuser -u postgres -- "$@"; }

# The address that apt has for Debian itself: deb822 files first, then one-line ones.
mirror() {
    {
        cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -n 's/^URIs:[[:space:]]*//p' | tr ' ' '\n'
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
            sed -n 's/^deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p'
    } | grep -E '/debian/?$' | head -n 1
}

proxy() { apt-config dump 2>/dev/null | sed -n 's/^Acquire::http::Proxy "\(.*\)";$/\1/p' | head -n 1; }

unpack() {
    [ "$(id -u)" = 0 ] || fail "unpacking needs root"
    if ! command -v debootstrap >/dev/null 2>&1; then
        say "installing debootstrap"
        { apt-get -q update && apt-get -q install -y --no-install-recommends debootstrap; } >&2
    fi
    found=$(mirror)
    [ -n "$found" ] || fail "apt on this machine names no Debian mirror"
    scripts=/usr/share/debootstrap/scripts
    [ -e "$scripts/trixie" ] || ln -s sid "$scripts/trixie"
    through=$(proxy)
    [ -z "$through" ] || export http_proxy="$through"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    say "unpacking trixie into $root"
    rm -rf "$root.new"
    mkdir -p "$home"
    set -- --variant=minbase --include=postgresql-17,postgresql-17-timescaledb
    [ ! -e "$keyring" ] || set -- "$@" "--keyring=$keyring"
    if ! debootstrap "$@" trixie "$root.new" "$found" >"$home/debootstrap.log" 2>&1; then
        tail -n 20 "$home/debootstrap.log" >&2
        fail "debootstrap failed"
    fi
    rm -rf "$root.new/var/cache/apt/archives"
    mkdir -p "$root.new/var/lib/greenlight"
    chroot "$root.new" chown postgres:postgres /var/lib/greenlight
    mv "$root.new" "$root"
}

is_up() { inside $bin/pg_isready -q -h 127.0.0.1 -p "$port" -t 1 2>/dev/null; }

start() {
    [ -e "$root$bin/postgres" ] || unpack
    if is_up; then
        echo "$url"
        return
    fi
    [ -e "$root/dev/urandom" ] || mknod -m 666 "$root/dev/urandom" c 1 9
    [ -e "$root/dev/null" ] || mknod -m 666 "$root/dev/null" c 1 3
    if [ ! -e "$root$data/PG_VERSION" ]; then
        say "making the data folder"
        rm -rf "${root:?}$data"
        inside $bin/initdb -D $data --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
            --username=postgres >&2
    fi
    say "starting on port $port"
    # In a session of its own, with no descriptor of the caller's left open.
    inside $bin/pg_ctl -D $data -w -t 60 -l /var/lib/greenlight/log \
        -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=/tmp \
            -c shared_preload_libraries=timescaledb -c timescaledb.telemetry_level=off \
            -c dynamic_shared_memory_type=mmap -c max_connections=100 -c shared_buffers=64MB \
            -c max_worker_processes=16" start </dev/null >&2 || {
        tail -n 20 "$root/var/lib/greenlight/log" >&2
        fail "the server did not start"
    }
    is_up || fail "the server does not answer on port $port"
    echo "$url"
}

stop() {
    [ -e "$root$data/postmaster.pid" ] || return 0
    inside $bin/pg_ctl -D $data -w -m fast stop >&2
}

case ${1:-start} in
    start) start ;;
    stop) stop ;;
    *) fail "usage: $0 [start|stop]" ;;
esac
