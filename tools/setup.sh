#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, and only that, with apt (Debian 12 and its kin).
#
#   tools/setup.sh run     what `make run` needs: compiler, Meson, libraries, redis-server
#   tools/setup.sh test    the same, and what `make test` needs
#   tools/setup.sh bench   the same as run, and the peers of `make bench`
#   tools/setup.sh chroot  what `make debtest` and `make imagetest` need beside
#   tools/setup.sh         all of it but the last
#
# A thing is looked for by what it gives (a program, a library, a module), not by its package, so
# that what was installed by other means counts. Silent when nothing is missing. Works as root or
# through sudo; exits 1 with the command to type when it can do neither.

set -eu
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # haproxy and nutcracker live there

has_program() { command -v "$1" >/dev/null 2>&1; }
has_library() { has_program pkg-config && pkg-config --exists "$1"; }
has_file() { [ -f "$1" ]; }
has_header() { echo "#include <$1>" | cc -E -x c - >/dev/null 2>&1; }
# Debian's modules belong to Debian's Python, whatever else is called python3 here.
has_python() { /usr/bin/python3 -c "import $1" >/dev/null 2>&1; }
has_php() { has_program php && php -r "exit(extension_loaded('$1') ? 0 : 1);" 2>/dev/null; }
has_ruby() { has_program ruby && ruby -e "require '$1'" 2>/dev/null; }
# The run-time libraries of clang's sanitizers and of libFuzzer are packages of their own.
has_clang_runtime() { has_program clang && [ -e "$(clang -print-file-name="$1")" ]; }

need() { # need PACKAGE CHECK ARGUMENT
    "$2" "$3" || missing="$missing $1"
}

need_run() {
    need gcc has_program gcc
    need libc6-dev has_header stdio.h
    need make has_program make
    need meson has_program meson
    need ninja-build has_program ninja
    need pkg-config has_program pkg-config
    need libxxhash-dev has_library libxxhash
    need libyaml-dev has_library yaml-0.1
    need libjansson-dev has_library jansson
    need libc-ares-dev has_library libcares
    need libssl-dev has_library libssl
    need libjs-chart.js has_file /usr/share/javascript/chart.js/chart.min.js
    need redis-server has_program redis-server
}

need_test() {
    need_run
    need clang has_program clang
    need libclang-rt-dev has_clang_runtime "libclang_rt.fuzzer-$(uname -m).a"
    need clang-format has_program clang-format
    need clang-tidy has_program clang-tidy
    need cppcheck has_program cppcheck
    need libcmocka-dev has_library cmocka
    need libhiredis-dev has_library hiredis
    need libuv1-dev has_library libuv
    need libsqlite3-dev has_library sqlite3
    need zlib1g-dev has_library zlib
    need libzstd-dev has_library libzstd
    need g++ has_program g++
    need mandoc has_program mandoc
    need doxygen has_program doxygen
    need redis-tools has_program redis-cli
    need dnsmasq-base has_program dnsmasq
    need nutcracker has_program nutcracker
    need prometheus has_program promtool
    need python3-pytest has_python pytest
    need python3-pytest-xdist has_python xdist
    need python3-redis has_python redis
    need php-cli has_program php
    need php-redis has_php redis
    need ruby-redis has_ruby redis
    need nodejs has_program node
    need npm has_program npm
    need chromium has_program chromium
    need haproxy has_program haproxy
    need shellcheck has_program shellcheck
    need strace has_program strace
    need systemd has_program systemd-analyze
    need dpkg-dev has_program dpkg-shlibdeps
    need file has_program file
    need python3-yaml has_python yaml
}

need_chroot() {
    need mmdebstrap has_program mmdebstrap
    need buildah has_program buildah
    need dpkg-dev has_program dpkg-shlibdeps
}

need_bench() {
    need_run
    need redis-tools has_program redis-benchmark
    need haproxy has_program haproxy
    need nutcracker has_program nutcracker
    need gnuplot-nox has_program gnuplot
    need iproute2 has_program ip
    need nftables has_program nft
    need dnsmasq-base has_program dnsmasq
}

look() { # look VERB: sets $missing
    missing=
    case "$1" in
    run) need_run ;;
    test) need_test ;;
    bench) need_bench ;;
    chroot) need_chroot ;;
    all) need_test && need_bench ;;
    *)
        echo "usage: tools/setup.sh [run|test|bench|chroot|all]" >&2
        exit 2
        ;;
    esac
    # shellcheck disable=SC2086  # a list of words
    missing=$(printf '%s ' $missing | tr ' ' '\n' | sort -u | tr '\n' ' ' | sed 's/^ *//; s/ *$//')
}
look "${1:-all}"

if [ -z "$missing" ]; then
    exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
fi
if ! has_program apt-get || { [ -n "$as_root" ] && ! has_program sudo; }; then
    echo "sumcache: missing: ${missing}" >&2
    echo "sumcache: install them as root: apt-get install --no-install-recommends ${missing}" >&2
    exit 1
fi

echo "sumcache: installing ${missing}" >&2

# Debian starts a service when its package is installed, and again at each boot. Wanted here are
# the programs: a redis-server on port 6379 that nobody asked for would only be in the way. So
# starting is forbidden while apt runs, and services that came with this run are switched off.
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
made_policy=
clean_up() {
    if [ -n "$made_policy" ]; then
        $as_root rm -f "$policy"
    fi
    rm -f "$log"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi

apt() { # apt VERB ARGUMENT…: quiet, but says all when it fails
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -y -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 </dev/null || {
        cat "$log" >&2
        echo "sumcache: apt-get $1 failed" >&2
        return 1
    }
}
# Old lists name files that the mirror no longer has, so an update comes first; without network it
# fails, and what is in apt's own cache may still be enough.
apt update || echo "sumcache: going on with the package lists that are here" >&2
# shellcheck disable=SC2086  # a list of words
apt install --no-install-recommends $missing

if [ -d /run/systemd/system ]; then
    for service in redis-server haproxy nutcracker prometheus; do
        case " $missing " in
        *" $service "*) $as_root systemctl --quiet disable "$service" || true ;;
        esac
    done
fi

look "${1:-all}"
if [ -n "$missing" ]; then
    echo "sumcache: still not found after installing: ${missing}" >&2
    exit 1
fi
