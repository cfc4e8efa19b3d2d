#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian package in a fresh Debian 12, runs what it brought, installs it again as an
# upgrade, and purges it: then nothing of it may be left. Needs root, mmdebstrap and a mirror; minutes.
#
#   tools/deb_in_chroot.sh PACKAGE.deb [BASE.tar]     BASE is made if it is not there, for the next time

set -euo pipefail
cd "$(dirname "$0")/.."
package=$(realpath "$1")
base=${2:-build/debian-base.tar}
root=$(mktemp -d /tmp/sumcache-chroot-XXXXXX)
daemon=
clean_up() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    rm -rf --one-file-system "$root"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
    echo "deb_in_chroot: $*" >&2
    exit 1
}
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
listing() {
    (cd "$root" && find etc usr var lib bin home \
        \( -path var/lib/dpkg -o -path var/cache -o -path var/log -o -path var/lib/apt \) -prune -o -print | LC_ALL=C sort)
}
users() { cut -d: -f1 "$root/etc/passwd" "$root/etc/group" | sort; }

if [ ! -e "$base" ]; then
    # With what the package needs, so that what is left afterwards is its own.
    depends=$(dpkg-deb -f "$package" Depends | sed 's/([^)]*)//g; s/|[^,]*//g; s/[ ]//g')
    mmdebstrap --mode=root --variant=minbase --include="$depends" bookworm "$base" >/dev/null
fi
tar -C "$root" --exclude='./dev/*' -xf "$base"
mkdir -p "$root/dev"
[ -e "$root/dev/null" ] || mknod -m 666 "$root/dev/null" c 1 3 2>/dev/null || touch "$root/dev/null"
cp "$package" "$root/sumcache.deb"
listing >"$root.before"
users >"$root.users"

echo "- installed"
inside dpkg -i /sumcache.deb
[ "$(stat -c '%U:%G %a' --dereference "$root/etc/sumcache" | sed 's/.* //')" = 750 ] || fail "/etc/sumcache is not 750"
inside getent passwd sumcache >/dev/null || fail "there is no user sumcache"
inside sumcache --version

echo "- run, as its user"
port=$((20000 + RANDOM % 10000))
inside sumcache --config /etc/sumcache/sumcache.yaml --check-config
chroot --userspec=sumcache:sumcache "$root" /usr/bin/sumcache --config /etc/sumcache/sumcache.yaml \
    --listen "$port" 2>"$root.log" &
daemon=$!
for _ in $(seq 100); do
    if answer=$(exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'PING\r\n' >&3 && head -c 5 <&3) 2>/dev/null; then break; fi
    sleep 0.1
done
[ "$answer" = +PONG ] || fail "it does not answer: $(cat "$root.log")"
[ "$(ps -o user= -p "$daemon")" != root ] || fail "it runs as root"
kill "$daemon"
wait "$daemon" || fail "it did not end well"
daemon=

echo "- installed again, with a configuration of somebody's own"
echo "# mine" >>"$root/etc/sumcache/sumcache.yaml"
echo secret >"$root/etc/sumcache/password"
inside dpkg -i /sumcache.deb
grep -q '# mine' "$root/etc/sumcache/sumcache.yaml" || fail "a changed configuration was overwritten"

echo "- removed, then purged"
inside dpkg -r sumcache
[ ! -e "$root/usr/bin/sumcache" ] || fail "remove took too little"
grep -q '# mine' "$root/etc/sumcache/sumcache.yaml" || fail "remove took too much"
inside dpkg -P sumcache
listing | diff "$root.before" - |
    grep -v 'etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)-$' | grep '^[<>]' && fail "the above is left, or gone"
users | diff "$root.users" - || fail "users are left"
rm -f "$root.before" "$root.users" "$root.log"
echo "deb_in_chroot: installed, ran, upgraded and purged cleanly"
