#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Configures a build directory if need be, and builds in it.
#
#   tools/build.sh plain|lint|micro|asan|tsan|fuzz [TARGET…]
#
#   plain  build/       -O2 across files, with debug information: what is run, measured and shipped
#   lint   build-lint/  objects that tools/tidy.py can look into, which those of plain are not
#   micro  build-micro/ as plain, file by file: callgrind has to find the functions it counts
#   asan   build-asan/  address and undefined-behaviour sanitizer; a report ends the program
#   tsan   build-tsan/  thread sanitizer
#   fuzz   build-fuzz/  clang, libFuzzer, address and undefined-behaviour sanitizer
#
# Tests are part of a build as soon as cmocka is there: `make run` needs no test tools.

set -eu
cd "$(dirname "$0")/.."
kind=${1:-plain}
[ $# -eq 0 ] || shift

tests=disabled
if pkg-config --exists cmocka; then
    tests=enabled
fi

# -O1 keeps sanitizer reports readable and the run time bearable. -w: what a sanitizer inserts makes
# gcc warn of things that are not in the source; the plain build (gcc) and the fuzz build (clang) judge
# the source, with every warning an error.
asan='-Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false'
case "$kind" in
plain)
    dir=build
    # Optimised across files: the many small functions of the data plane cost a tenth less.
    options='-Dbuildtype=debugoptimized -Db_lto=true'
    c_args=
    ;;
lint)
    dir=build-lint
    options='-Dbuildtype=debug -Doptimization=0'
    c_args=
    ;;
micro)
    dir=build-micro
    options='-Dbuildtype=debugoptimized'
    c_args=
    ;;
asan)
    dir=build-asan
    options=$asan
    c_args='-w -fno-sanitize-recover=all -fno-omit-frame-pointer'
    ;;
tsan)
    dir=build-tsan
    options='-Dbuildtype=debug -Doptimization=1 -Db_sanitize=thread -Db_lundef=false'
    c_args='-w -fno-omit-frame-pointer'
    ;;
fuzz)
    dir=build-fuzz
    options="$asan -Dfuzz=true"
    # Without this only the fuzz target itself would be steered by coverage, not the libraries.
    c_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=all -fno-omit-frame-pointer'
    tests=enabled # fuzzers live under tests/
    export CC=clang
    ;;
*)
    echo "usage: tools/build.sh plain|lint|asan|tsan|fuzz [TARGET…]" >&2
    exit 2
    ;;
esac

if [ ! -e "$dir/build.ninja" ]; then
    # shellcheck disable=SC2086  # a list of words
    meson setup "$dir" $options -Dtests="$tests" "-Dc_args=$c_args" >"$dir.log" 2>&1 || {
        cat "$dir.log" >&2
        rm -rf "$dir" "$dir.log"
        exit 1
    }
    mv "$dir.log" "$dir/setup.log"
elif [ "$tests" = enabled ] &&
    meson introspect --buildoptions "$dir" | tr '{' '\n' |
    grep '"name": "tests"' | grep -q '"value": "disabled"'; then
    meson configure "$dir" -Dtests=enabled
fi
exec ninja -C "$dir" --quiet "$@"
