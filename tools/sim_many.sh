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
chunk=500

# run_chunk FIRST COUNT: a line per seed that fails. The simulator stops at each, and is started again
# behind it.
run_chunk() {
    local seed=$1 end=$(($1 + $2)) found
    while [ "$seed" -lt "$end" ]; do
        found=$("$sim" "$seed" $((end - seed)) 2>&1 >/dev/null </dev/null |
            sed -n -e '/^failed: /,$p' -e '/^sim [0-9]* .*(signal/p' | tail -n 4 | tr '\n' ' ')
        [ -n "$found" ] || return 0
        echo "$found"
        seed=$(($(grep -oE 'sim [0-9]+ #' <<<"$found" | grep -oE '[0-9]+' | tail -n 1 || echo "$end") + 1))
    done
}
export -f run_chunk
export sim

failures=$(for ((seed = first; seed < first + count; seed += chunk)); do
    echo "$seed $((seed + chunk <= first + count ? chunk : first + count - seed))"
done | xargs -P "$(nproc)" -L 1 bash -c 'run_chunk "$@"' run_chunk | tee /dev/stderr)
failed=$(grep -c . <<<"$failures")
echo "$count seeds, $failed failed"
[ "$failed" -eq 0 ]
