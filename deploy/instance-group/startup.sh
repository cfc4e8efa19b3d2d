#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Start-up script of an instance group: makes a node, a proxy, or both of a fresh Debian 12 machine.
# It runs at each boot and comes to the same each time.
#
# What it is to do comes from /etc/sumcache/instance (NAME=value lines, as cloud-init can write it),
# or from the attributes of the instance template on Google's Compute Engine:
#
#   sumcache-role            node, proxy or both
#   sumcache-package         sumcache_VERSION_ARCH.deb: a path, or where curl finds it
#   sumcache-nodes           proxy: "static a:6379,b:6379", "dns NAME:PORT" or "srv _redis._tcp.NAME"
#   sumcache-nodes-here      node: how many on this machine, on ports from 6379 on (1)
#   sumcache-node-password   of the nodes; none: whoever reaches them may do everything
#   sumcache-password        proxy: of clients; none: protected_mode is off, and the firewall has
#                            to keep others out
#   sumcache-balancers       proxy: addresses that send the PROXY protocol, with commas
#
# In the file the names are SUMCACHE_ROLE, SUMCACHE_NODES and so on.

set -eu
umask 027

etc=${SUMCACHE_ETC:-/etc/sumcache} # for its test
metadata=${SUMCACHE_METADATA:-http://metadata.google.internal/computeMetadata/v1/instance/attributes}

say() { echo "sumcache startup: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

# setting NAME: from the environment (which the file fills), else of the instance; "" if neither has it.
setting() {
    variable=$(echo "$1" | tr 'a-z-' 'A-Z_')
    eval "value=\${$variable-}"
    if [ -z "$value" ] && [ ! -e "$etc/instance" ]; then
        value=$(curl -fs --connect-timeout 2 --max-time 5 -H 'Metadata-Flavor: Google' "$metadata/$1" || true)
    fi
    printf '%s' "$value"
}

# put FILE: standard input, readable for its group alone; changes nothing if it holds that already.
put() {
    cat >"$1.new"
    chmod 640 "$1.new"
    if getent group sumcache >/dev/null 2>&1 && [ "$(id -u)" -eq 0 ]; then
        chgrp sumcache "$1.new"
    fi
    if cmp -s "$1.new" "$1"; then
        rm "$1.new"
    else
        mv "$1.new" "$1"
        changed=yes
    fi
}

install_package() {
    package=$(setting sumcache-package)
    [ -n "$package" ] || return 0
    case "$package" in
    http://* | https://*)
        curl -fsS --retry 5 -o /var/tmp/sumcache.deb "$package"
        package=/var/tmp/sumcache.deb
        ;;
    esac
    # The package recommends redis-server, and that must not start one of its own.
    if [ "$(dpkg-deb -f "$package" Version)" = "$(dpkg-query -Wf '${Version}' sumcache 2>/dev/null)" ]; then
        return 0
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install "$package"
    systemctl --quiet disable --now redis-server.service || true
}

make_nodes() {
    here=$(setting sumcache-nodes-here)
    here=${here:-1}
    kilobytes=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
    # Three quarters of the machine; half of it if a proxy lives here too.
    part=$((kilobytes * 3 / 4 / here))
    [ "$role" = node ] || part=$((kilobytes / 2 / here))
    password=$(setting sumcache-node-password)
    i=0
    while [ "$i" -lt "$here" ]; do
        port=$((6379 + i))
        [ "$role" = node ] || port=$((6380 + i))
        changed=
        {
            echo "maxmemory ${part}kb"
            [ -z "$password" ] || echo "requirepass \"$password\""
        } | {
            put "$etc/node-$port.conf"
            echo "$changed" >"$etc/.changed"
        }
        systemctl --quiet enable "sumcache-node@$port.service"
        if [ -s "$etc/.changed" ] && [ -n "$(cat "$etc/.changed")" ]; then
            systemctl restart "sumcache-node@$port.service" # which empties it
        else
            systemctl start "sumcache-node@$port.service"
        fi
        i=$((i + 1))
    done
    rm -f "$etc/.changed"
}

make_proxy() {
    nodes=$(setting sumcache-nodes)
    node_password=$(setting sumcache-node-password)
    password=$(setting sumcache-password)
    balancers=$(setting sumcache-balancers)
    if [ -z "$nodes" ] && [ "$role" = both ]; then
        nodes="static 127.0.0.1:6380"
    fi
    kind=${nodes%% *}
    case "$nodes" in
    'static '?* | 'dns '?* | 'srv '?*) ;;
    '') fail "sumcache-nodes is not set" ;;
    *) fail "sumcache-nodes: not 'static …', 'dns …' or 'srv …': $nodes" ;;
    esac
    [ -z "$password" ] || echo "$password" | put "$etc/password"
    [ -z "$node_password" ] || echo "$node_password" | put "$etc/node-password"
    {
        echo "# Written by the start-up script of the instance group, at each boot."
        echo "listen: [0.0.0.0:6379]"
        if [ -n "$password" ]; then
            echo "auth: { password_file: $etc/password }"
        else
            echo "protected_mode: off"
        fi
        echo "nodes:"
        echo "  $kind: [${nodes#* }]"
        [ -z "$node_password" ] || echo "  password_file: $etc/node-password"
        [ -z "$balancers" ] || echo "proxy_protocol: { from: [$balancers] }"
    } | put "$etc/sumcache.yaml"
    sumcache --config "$etc/sumcache.yaml" --check-config || fail "the configuration is wrong; sumcache was left as it is"
    systemctl --quiet enable sumcache.service
    systemctl restart sumcache.service
}

if [ -r "$etc/instance" ]; then
    set -a
    # shellcheck disable=SC1091  # made by cloud-init
    . "$etc/instance"
    set +a
fi
role=$(setting sumcache-role)
case "$role" in
node | proxy | both) ;;
*) fail "sumcache-role: not node, proxy or both: '$role'" ;;
esac
install_package
mkdir -p "$etc"
# Connections that wait to be accepted, after all proxies or all clients have come at once.
sysctl -q -w net.core.somaxconn=4096 || true
[ "$role" = proxy ] || make_nodes
[ "$role" = node ] || make_proxy
say "this is a $role"
