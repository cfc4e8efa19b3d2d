#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The five checks of `make lint`. Needs a plain build (objects and compile_commands.json).
#
#   tools/lint.sh [--changed] [CHECK…]     CHECK: tidy rules format cppcheck clang-tidy
#
#   tidy        tools/tidy.py: layers, symbols, globals, names, lengths, documents
#   rules       tidy.py itself: does each of its rules find what it is there for?
#   format      clang-format
#   cppcheck    what cppcheck is sure of
#   clang-tidy  .clang-tidy; with --changed only files that differ from the last commit
#
# Ends with `lint: N passed, M failed`, one for each check.

set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD_DIR:-build}
jobs=$(nproc)
changed=
if [ "${1:-}" = --changed ]; then
    changed=yes
    shift
fi
checks=("$@")
if [ ${#checks[@]} -eq 0 ]; then
    checks=(tidy rules format cppcheck clang-tidy)
fi

c_files() { # c_files PATTERN…: NUL-separated
    local folders=() folder
    for folder in src sim tests bench; do
        [ ! -d "$folder" ] || folders+=("$folder")
    done
    find "${folders[@]}" -name node_modules -prune -o -type f -name "$1" -print0 | sort -z
}

need_build() {
    if [ ! -e "$build/compile_commands.json" ]; then
        echo "$build/ is not built: run tools/build.sh plain first"
        return 1
    fi
}

check_tidy() {
    /usr/bin/python3 tools/tidy.py --build "$build"
}

check_rules() {
    /usr/bin/python3 -m pytest -q -p no:cacheprovider tools/test_tidy.py
}

check_format() {
    c_files '*.[ch]' | xargs -0 clang-format --dry-run -Werror
}

check_cppcheck() {
    need_build || return 1
    # Suppressed: unmatched inline suppressions of other versions; system headers are not read, nor
    # need they be. What is configured by -D belongs to the compiler.
    cppcheck --project="$build/compile_commands.json" --quiet -j "$jobs" \
        --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppress=missingIncludeSystem --suppress=unmatchedSuppression \
        --suppress=normalCheckLevelMaxBranches --template=gcc
}

# The .c files that are compiled: clang-tidy can only judge those.
compiled_files() {
    /usr/bin/python3 - "$build/compile_commands.json" <<'PYTHON'
import json, os, sys
root = os.getcwd() + "/"
paths = set()
for entry in json.load(open(sys.argv[1])):
    path = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
    if path.startswith(root) and path.endswith(".c"):
        paths.add(path[len(root):])
print("\n".join(sorted(paths)))
PYTHON
}

check_clang_tidy() {
    need_build || return 1
    local files
    files=$(compiled_files) || return 1
    if [ -n "$changed" ]; then
        # A header that has changed may break any file, so then all are read.
        local differing
        differing=$(git status --porcelain --untracked-files=all | cut -c4-)
        if ! grep -q '\.h$' <<<"$differing"; then
            files=$(grep -Fx -f <(echo "$differing") <<<"$files")
        fi
    fi
    if [ -z "$files" ]; then
        [ -n "$changed" ]
        return
    fi
    # The compile commands are gcc's: clang must not stumble over warnings it does not know. A file
    # without findings is silent, but for the count of those in system headers.
    xargs -d '\n' -P "$jobs" -n 1 clang-tidy -p "$build" --quiet \
        --extra-arg=-Wno-unknown-warning-option <<<"$files" \
        2> >(grep -vE 'warnings? (generated|treated as error)|^Suppressed|^Use -header' >&2)
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
