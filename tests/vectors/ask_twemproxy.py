#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a running twemproxy where it puts keys, and writes that down in tests/vectors/twemproxy.txt.

  tests/vectors/ask_twemproxy.py            # needs `nutcracker` and `redis-server`; some seconds

Real redis-servers stand behind it, and what each of them holds in the end is the answer. Only who
doubts the vectors, or adds some, has to run this; tests/unit/test_layout.c and
tests/integration/test_migration.py read the file.
"""
import pathlib
import random
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

import processes  # noqa: E402
import twemproxy  # noqa: E402

NODES = 5
KETAMA_PORT = 11211  # With this one the port is no part of what places a server.


def keys():
    rng = random.Random(20)
    plain = [b"user:%d" % i for i in range(120)] + [b"image:%d:large" % (i * 7919) for i in range(60)]
    tags = [b"{user%d}.%s" % (i, name) for i in range(20) for name in (b"a", b"bc")]
    odd = [b"a", b"{}", b"{}x", b"{", b"}{", b"{{a}}", b"x{y}z{w}", b"a{b", "clé".encode(), "\u8a9e".encode(),
           b"\xff", b"\x80\x00\xff", b"{\xff}\xfe", b"x" * 12, b"x" * 13, b"x" * 24, b"x" * 25, b"x" * 55, b"x" * 56,
           b"x" * 63, b"x" * 64, b"x" * 65, b"x" * 119, b"x" * 120, b"x" * 500]
    noise = [rng.randbytes(1 + i % 40) for i in range(160)]
    return list(dict.fromkeys(plain + tags + odd + noise))


def pools(nodes, odd_port):
    """(distribution, hash, tags, [(server, name or "", weight)]): what is worth being told apart."""
    at = [f"{node.host}:{node.port}" for node in nodes]
    named = [(at[i], name, 1) for i, name in enumerate(["alpha", "beta", "gamma", "delta"])]
    weighted = [(at[i], name, weight) for i, (name, weight) in
                enumerate([("node-10", 3), ("node-9", 1), ("n", 2), ("node-2", 5), ("b", 1)])]
    for name in twemproxy.HASHES:
        yield "ketama", name, False, named
    for name in twemproxy.HASHES:
        yield "modula", name, False, weighted
    for tags in (False, True):
        yield "ketama", "fnv1a_64", tags, weighted
        yield "modula", "murmur", tags, named
        yield "ketama", "murmur", tags, [(server, "", 1) for server in at]
    yield "ketama", "fnv1a_64", False, [(at[0], "one", 100), (at[1], "two", 1), (at[2], "three", 33)]
    yield "ketama", "jenkins", False, [(f"{node.host}:{node.port}", "", 1) for node in odd_port]
    yield "ketama", "md5", False, named[:1]


def main():
    all_keys = keys()
    lines = ["# Written by tests/vectors/ask_twemproxy.py: where twemproxy "
             f"{twemproxy.version()} puts keys.",
             "# `keys N` and N keys in hex; then pools: `pool DISTRIBUTION HASH tags|whole`, a line",
             "# `server ID WEIGHT` for each (the ID is what places it), `owners` with a digit per key.",
             f"keys {len(all_keys)}"] + [key.hex() for key in all_keys]
    with tempfile.TemporaryDirectory() as directory:
        nodes, odd = [], []
        try:
            for i in range(NODES):
                nodes.append(processes.Node(directory))
            for i in range(3):
                odd.append(processes.Node(directory, port=KETAMA_PORT, host=f"127.83.7.{i + 1}"))
            for distribution, name, tags, servers in pools(nodes, odd):
                by_server = {f"{node.host}:{node.port}": node for node in nodes + odd}
                with twemproxy.Twemproxy(directory, servers, distribution, name, tags) as proxy:
                    owners = twemproxy.owners(proxy, [by_server[s[0]] for s in servers], all_keys)
                lines.append(f"pool {distribution} {name} {'tags' if tags else 'whole'}")
                for server, alias, weight in servers:
                    host, port = server.rsplit(":", 1)
                    lines.append(f"server {alias or (host if int(port) == KETAMA_PORT else server)} {weight}")
                lines.append("owners " + "".join(str(owner) for owner in owners))
        finally:
            for node in nodes + odd:
                node.end()
    (HERE / "twemproxy.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"ask_twemproxy.py: {error}")
