#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Many seeds, on all CPUs, past those that fail:
#
#   tools/sim_many.sh FIRST COUNT [SIM]    SIM: build/sim
#
# Each seed that fails is named with what it failed by; `SIM SEED` shows its trace. Ends with one line
# `N seeds, M failed` and, if M is not 0, with exit status 1. 100,000 seeds take some 35 CPU minutes.

set -u
first=${1:?"usage: tools/sim_many.sh FIRST COUNT [SIM]"}
count=${2:?"usage: tools/sim_many.sh FIRST COUNT [SIM]"}
sim=${3:-$(dirname "$0")/../build/sim}
jobs=$(nproc)
chunk=$(((count + jobs - 1) / jobs)) # each CPU has its own, and of many seeds small ones in turn
[ "$chunk" -le 500 ] || chunk=500

# run_chunk FIRST COUNT: a line per seed that fails. The simulator stops at each, and is started again
# behind it.
run_chunk() {
    local seed=$1 end=$(($1 + $2)) said found next
    said=$(mktemp)
    while [ "$seed" -lt "$end" ] && ! "$sim" "$seed" $((end - seed)) >/dev/null 2>"$said" </dev/null; do
        found=$(sed -n -e '/^failed: /,$p' -e '/^sim [0-9]* .*(signal/p' "$said" | tail -n 4 | tr '\n' ' ')
        next=$(grep -oE 'sim [0-9]+ #' <<<"$found" | grep -oE '[0-9]+' | tail -n 1)
        if [ -z "$next" ]; then # it ended in a way of its own, as sanitizers do
            tail -n 60 "$said" >&2
            found="one of $seed to $((end - 1)) ended without saying which"
            next=$end
        fi
        echo "$found"
        seed=$((next + 1))
    done
    rm -f "$said"
}
export -f run_chunk
export sim

failures=$(for ((seed = first; seed < first + count; seed += chunk)); do
    echo "$seed $((seed + chunk <= first + count ? chunk : first + count - seed))"
done | xargs -P "$jobs" -L 1 bash -c 'run_chunk "$@"' run_chunk | tee /dev/stderr)
failed=$(grep -c . <<<"$failures")
echo "$count seeds, $failed failed"
[ "$failed" -eq 0 ]
