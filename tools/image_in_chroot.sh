#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the image of deploy/docker with buildah, from a base that mmdebstrap makes, so that no registry of
# images is needed; then looks at it and runs it as its user. Needs root, both programs and a mirror; minutes.
#
#   tools/image_in_chroot.sh [BASE.tar]     BASE is made if it is not there, for the next time

set -euo pipefail
cd "$(dirname "$0")/.."
base=${1:-build/debian-base.tar}
work=$(mktemp -d /tmp/sumcache-image-XXXXXX)
daemon=
buildah() { command buildah --root "$work/root" --runroot "$work/run" --storage-driver vfs "$@"; }
clean_up() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    buildah umount --all >/dev/null 2>&1 || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
    echo "image_in_chroot: $*" >&2
    exit 1
}

[ -e "$base" ] || mmdebstrap --mode=root --variant=minbase bookworm "$base" >/dev/null

echo "- built"
container=$(buildah from scratch)
buildah add --quiet "$container" "$base" / >/dev/null
buildah commit --quiet --rm "$container" localhost/base >/dev/null
buildah bud --isolation chroot --network host --build-arg BASE=localhost/base \
    -f deploy/docker/Dockerfile -t sumcache . >"$work/log" 2>&1 || {
    tail -n 40 "$work/log" >&2
    fail "it cannot be built"
}

echo "- looked at"
user=$(buildah inspect --type image --format '{{.OCIv1.Config.User}}' sumcache)
[ "$user" = 65532:65532 ] || fail "it runs as '$user'"
container=$(buildah from sumcache)
root=$(buildah mount "$container")
size=$(du -sm "$root" | cut -f1)
[ "$size" -le 20 ] || fail "it has $size MB"
[ ! -e "$root/bin/sh" ] || fail "it has a shell"

echo "- run, as its user"
chroot --userspec="$user" "$root" /usr/bin/sumcache --version
port=$((20000 + RANDOM % 10000))
printf 'listen: [127.0.0.1:%s]\nnodes: { static: [127.0.0.1:1] }\n' "$port" >"$root/etc/sumcache/sumcache.yaml"
mapfile -t command < <(buildah inspect --type image \
    --format '{{range .OCIv1.Config.Entrypoint}}{{println .}}{{end}}{{range .OCIv1.Config.Cmd}}{{println .}}{{end}}' sumcache | grep .)
chroot --userspec="$user" "$root" "${command[@]}" 2>"$work/log" &
daemon=$!
answer=
ping() { exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'PING\r\n' >&3 && head -c 5 <&3; }
for _ in $(seq 100); do
    if answer=$(ping 2>/dev/null); then break; fi
    sleep 0.1
done
[ "$answer" = +PONG ] || fail "it does not answer: $(cat "$work/log")"
[ "$(stat -c %u "/proc/$daemon")" = 65532 ] || fail "it runs as another user"
kill "$daemon"
wait "$daemon" || fail "it did not end well"
daemon=
echo "image_in_chroot: built, ran and ended, $size MB"
