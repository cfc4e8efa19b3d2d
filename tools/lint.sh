#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The five checks of `make lint`. Builds what it looks into (objects and compile_commands.json).
#
#   tools/lint.sh [CHECK…]     CHECK: tidy rules format cppcheck clang-tidy clang-tidy-quick
#
#   tidy        tools/tidy.py: layers, symbols, globals, names, lengths, documents
#   rules       tidy.py itself, and what the benches judge by: does each rule find what it is for?
#   format      clang-format
#   cppcheck    what cppcheck is sure of
#   clang-tidy  what .clang-tidy asks for; clang-tidy-quick is what of it takes seconds, not minutes,
#               and the one that `make test` runs instead
#
# Ends with `lint: N passed, M failed`, one for each check.

set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD_DIR:-build-lint}
jobs=$(nproc)
checks=("$@")
if [ ${#checks[@]} -eq 0 ]; then
    checks=(tidy rules format cppcheck clang-tidy)
fi

need_build() {
    [ "$build" != build-lint ] || tools/build.sh lint
}

check_tidy() {
    need_build || return 1
    /usr/bin/python3 tools/tidy.py --build "$build"
}

check_rules() {
    need_build || return 1
    BENCH_TOOLS=${BENCH_TOOLS:-$PWD/$build/bench} /usr/bin/python3 -m pytest -q -p no:cacheprovider tools/test_tidy.py bench/test_bench.py \
        bench/test_failover.py
}

check_format() {
    find src sim tests bench client -name node_modules -prune -o -type f -name '*.[ch]' -print0 |
        xargs -0 -n 20 -P "$jobs" clang-format --dry-run -Werror
}

check_cppcheck() {
    need_build || return 1
    # Tests run under the sanitizers, which know what cppcheck guesses; what the build has written is no
    # source. Suppressed: system headers are
    # not read, nor need they be; leaks, since it does not know CLEANUP(…); the old check for
    # uninitialised variables, which takes an array handed on to be filled for one that is read; and
    # must(x && "what it means").
    cppcheck --project="$build/compile_commands.json" --quiet -j "$jobs" -itests "-i$build" --template=gcc \
        --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppress=missingIncludeSystem --suppress=unmatchedSuppression --suppress=memleak \
        --suppress=legacyUninitvar --suppress=incorrectStringBooleanError
}

check_clang_tidy() {
    need_build || return 1
    /usr/bin/python3 tools/clang_tidy.py "$build"
}

check_clang_tidy_quick() {
    need_build || return 1
    /usr/bin/python3 tools/clang_tidy.py --quick "$build"
}

passed=0
failed=0
for check in "${checks[@]}"; do
    SECONDS=0
    if "check_${check//-/_}" </dev/null; then
        passed=$((passed + 1))
        echo "lint: $check: ok (${SECONDS} s)"
    else
        failed=$((failed + 1))
        echo "lint: $check: FAILED (${SECONDS} s)"
    fi
done
echo "lint: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
