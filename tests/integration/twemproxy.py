# SPDX-License-Identifier: Apache-2.0
"""A running twemproxy (Debian's package nutcracker), for the tests of moving away from it."""
import pathlib
import re
import shutil
import subprocess

import processes
import resp

HASHES = ("one_at_a_time", "md5", "crc16", "crc32", "crc32a", "fnv1_64", "fnv1a_64", "fnv1_32", "fnv1a_32", "hsieh",
          "murmur", "jenkins")


def program():
    """Its path. Debian puts it where only root looks."""
    found = shutil.which("nutcracker") or shutil.which("nutcracker", path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise RuntimeError("no twemproxy: install nutcracker (tools/setup.sh test)")
    return found


def version():
    said = subprocess.run([program(), "-V"], capture_output=True, text=True, timeout=10)
    return re.search(r"nutcracker-([0-9.]+)", said.stdout + said.stderr)[1]


def config(port, servers, distribution, hash_name, tags):
    """The text of a nutcracker.yml. `servers`: ("host:port", name or "", weight)."""
    lines = ["cache:", f"  listen: {processes.HOST}:{port}", f"  hash: {hash_name}",
             f"  distribution: {distribution}", "  redis: true", "  timeout: 5000", "  servers:"]
    if tags:
        lines.insert(1, '  hash_tag: "{}"')
    lines += [f"    - {server}:{weight}" + (f" {name}" if name else "") for server, name, weight in servers]
    return "\n".join(lines) + "\n"


class Twemproxy(processes.Process):
    def __init__(self, directory, servers, distribution="ketama", hash_name="fnv1a_64", tags=False):
        self.port = processes.free_port()
        stats = processes.free_port()
        self.path = pathlib.Path(directory) / f"nutcracker-{self.port}.yml"
        self.path.write_text(config(self.port, servers, distribution, hash_name, tags), encoding="utf-8")
        super().__init__([program(), "-c", self.path, "-a", processes.HOST, "-s", stats, "-v", "3"],
                         pathlib.Path(directory) / f"nutcracker-{self.port}.log")
        resp.eventually(lambda: self.popen.poll() is not None or processes.is_open(self.port), what="twemproxy listens")
        assert self.popen.poll() is None, self.log()

    def connect(self):
        return resp.Connection(self.port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def owners(proxy, nodes, keys):
    """Of each key the index of the node where twemproxy puts it. The nodes are empty before and after."""
    with proxy.connect() as client:
        for key in keys:
            assert client.ask("SET", key, b"v:" + key) == "OK"
    found = {}
    for index, node in enumerate(nodes):
        found.update({key: index for key in node.ask("KEYS", "*")})
        node.ask("FLUSHALL")
    return [found[key] for key in keys]
