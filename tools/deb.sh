#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds sumcache_VERSION_ARCH.deb from build/sumcache and deploy/.
#
#   tools/deb.sh [OUTPUT-DIRECTORY]     (build/)
#
# By dpkg-deb alone: what debhelper would do for a program with two units is less than it would bring.
# The same tree gives the same package, byte for byte, if SOURCE_DATE_EPOCH says when.

set -eu
cd "$(dirname "$0")/.."
umask 022
out=${1:-build}
binary=${SUMCACHE_BIN:-build/sumcache}
version=$(sed -n "s/^ *version: '\([0-9.]*\)',$/\1/p" meson.build)
architecture=$(dpkg --print-architecture)
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
root=$work/root

put() { # put MODE SOURCE TARGET
    install -D -m "$1" "$2" "$root/$3"
}

compress() { # compress SOURCE TARGET: without name and time
    mkdir -p "$root/${2%/*}"
    gzip -9nc <"$1" >"$root/$2"
}

put 755 "$binary" usr/bin/sumcache
strip --remove-section=.comment --remove-section=.note "$root/usr/bin/sumcache"
put 644 deploy/systemd/sumcache.service lib/systemd/system/sumcache.service
put 644 deploy/systemd/sumcache.socket lib/systemd/system/sumcache.socket
put 644 deploy/systemd/sumcache-node@.service lib/systemd/system/sumcache-node@.service
put 644 deploy/systemd/sumcache.yaml etc/sumcache/sumcache.yaml
put 644 deploy/redis/redis.conf etc/sumcache/redis.conf
put 644 deploy/haproxy/haproxy.cfg usr/share/doc/sumcache/examples/haproxy.cfg
put 644 deploy/debian/copyright usr/share/doc/sumcache/copyright
for page in docs/man/*.[0-9]; do
    compress "$page" "usr/share/man/man${page##*.}/${page##*/}.gz"
done
for document in operations sizing runbook faq security commands migration; do
    [ ! -e "docs/$document.md" ] || compress "docs/$document.md" "usr/share/doc/sumcache/$document.md.gz"
done
printf 'sumcache (%s) unstable; urgency=medium\n\n  * See the history of the repository.\n\n -- %s  %s\n' \
    "$version" 'The sumcache authors <sumcache@localhost>' "$(date -Ru -d "@$SOURCE_DATE_EPOCH")" >"$work/changelog"
compress "$work/changelog" usr/share/doc/sumcache/changelog.gz

# The libraries it needs, as packages with the versions that have what it uses of them.
mkdir -p "$work/debian" "$root/DEBIAN"
printf 'Source: sumcache\n\nPackage: sumcache\nArchitecture: any\n' >"$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O root/usr/bin/sumcache 2>"$work/shlibdeps.log" |
    sed -n 's/^shlibs:Depends=//p')
if [ -z "$libraries" ]; then
    cat "$work/shlibdeps.log" >&2
    echo "deb.sh: the libraries of $binary belong to no packages" >&2
    exit 1
fi

for script in postinst prerm postrm; do
    install -m 755 "deploy/debian/$script" "$root/DEBIAN/$script"
done
printf '/etc/sumcache/redis.conf\n/etc/sumcache/sumcache.yaml\n' >"$root/DEBIAN/conffiles"
(cd "$root" && find usr lib -type f | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
cat >"$root/DEBIAN/control" <<END
Package: sumcache
Version: $version
Architecture: $architecture
Maintainer: The sumcache authors <sumcache@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: adduser, init-system-helpers (>= 1.54), $libraries
Recommends: redis-server
Section: net
Priority: optional
Description: many Redis servers as one cache
 A proxy that sums many Redis or Valkey instances into one cache: applications
 see one Redis, each key lives on one node, chosen by consistent hashing. When
 a node dies, hangs or is cut off, its keys are misses, and nothing else waits.
 .
 Nothing is switched on by the installation: name the nodes in
 /etc/sumcache/sumcache.yaml, then "systemctl enable --now sumcache".
END

find "$root" -print0 | xargs -0 touch -hd "@$SOURCE_DATE_EPOCH"
mkdir -p "$out"
package=$out/sumcache_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
echo "$package"
