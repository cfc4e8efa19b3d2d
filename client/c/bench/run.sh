#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make bench-client`: client_bench against a redis-server of its own on loopback.
set -eu
cd "$(dirname "$0")/../../.."
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no >/dev/null &
server=$!
trap 'kill $server' EXIT
trap 'exit 130' INT TERM
until redis-cli -p "$port" ping >/dev/null 2>&1; do
    kill -0 $server
    sleep 0.1
done
build/client/c/bench/client_bench 127.0.0.1 "$port" "${1:-1}"
