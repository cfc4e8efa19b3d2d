# SPDX-License-Identifier: Apache-2.0
"""deploy/instance-group/startup.sh, with stand-ins for what changes the machine."""
import os
import pathlib
import subprocess

import pytest

from processes import BINARY, ROOT, run

pytestmark = pytest.mark.proxy_only
SCRIPT = ROOT / "deploy" / "instance-group" / "startup.sh"


class Machine:
    """Programs that note how they were called, and a directory in place of /etc/sumcache."""

    def __init__(self, directory):
        self.etc, self.bin, self.calls_path = directory / "etc", directory / "bin", directory / "calls"
        self.etc.mkdir()
        self.bin.mkdir()
        for name in ("systemctl", "apt-get", "sysctl"):
            self.program(name, f'echo "{name} $*" >>"{self.calls_path}"\n')
        self.program("curl", "exit 22\n")
        (self.bin / "sumcache").symlink_to(BINARY)

    def program(self, name, text):
        path = self.bin / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)

    def start(self, settings=None):
        """→ (exit status, standard error, calls)"""
        if settings is not None:
            (self.etc / "instance").write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
        self.calls_path.write_text("")
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "SUMCACHE_ETC": str(self.etc)}
        done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, timeout=30, check=False)
        calls = [call for call in self.calls_path.read_text().splitlines() if not call.startswith("sysctl")]
        return done.returncode, done.stderr, calls

    def read(self, name):
        return (self.etc / name).read_text()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_node(machine):
    settings = {"SUMCACHE_ROLE": "node", "SUMCACHE_NODES_HERE": "2", "SUMCACHE_NODE_PASSWORD": "secret"}
    status, error, calls = machine.start(settings)
    assert status == 0, error
    assert calls == ["systemctl --quiet enable sumcache-node@6379.service", "systemctl restart sumcache-node@6379.service",
                     "systemctl --quiet enable sumcache-node@6380.service", "systemctl restart sumcache-node@6380.service"]
    total = int(pathlib.Path("/proc/meminfo").read_text().split()[1])
    assert machine.read("node-6379.conf") == f'maxmemory {total * 3 // 4 // 2}kb\nrequirepass "secret"\n'
    assert machine.read("node-6380.conf") == machine.read("node-6379.conf")
    assert (machine.etc / "node-6379.conf").stat().st_mode & 0o7777 == 0o640
    # At the next boot nothing has changed, so nothing is emptied.
    status, error, calls = machine.start()
    assert [call.split()[1] for call in calls if "enable" not in call] == ["start", "start"]
    assert sorted(path.name for path in machine.etc.iterdir()) == ["instance", "node-6379.conf", "node-6380.conf"]


def test_a_proxy(machine):
    settings = {"SUMCACHE_ROLE": "proxy", "SUMCACHE_NODES": "static 10.0.0.1:6379,10.0.0.2:6379",
                "SUMCACHE_PASSWORD": "secret", "SUMCACHE_NODE_PASSWORD": "of nodes", "SUMCACHE_BALANCERS": "10.0.1.0/24"}
    status, error, calls = machine.start(settings)
    assert status == 0, error
    assert calls[-1] == "systemctl restart sumcache.service"
    assert (machine.read("password"), machine.read("node-password")) == ("secret\n", "of nodes\n")
    done = run("--config", machine.etc / "sumcache.yaml", "--print-config")
    assert done.returncode == 0
    for line in ('- "10.0.0.1:6379"', '- "10.0.0.2:6379"', '- "10.0.1.0/24"', '- "0.0.0.0:6379"'):
        assert line in done.stdout


@pytest.mark.parametrize("kind", ["dns cache.internal:6379", "srv _redis._tcp.cache.internal"])
def test_nodes_by_name(machine, kind):
    status, error, _ = machine.start({"SUMCACHE_ROLE": "proxy", "SUMCACHE_NODES": kind})
    assert status == 0, error
    name, value = kind.split()
    assert f"  {name}: [{value}]\n" in machine.read("sumcache.yaml")
    assert "protected_mode: off\n" in machine.read("sumcache.yaml")


def test_both_on_one_machine(machine):
    status, error, calls = machine.start({"SUMCACHE_ROLE": "both"})
    assert status == 0, error
    assert "systemctl restart sumcache-node@6380.service" in calls and "systemctl restart sumcache.service" in calls
    assert "  static: [127.0.0.1:6380]\n" in machine.read("sumcache.yaml")


def test_attributes_of_the_instance(machine):
    machine.program("curl", 'case "$*" in */sumcache-role) printf node ;; *) exit 22 ;; esac\n')
    status, error, _ = machine.start()
    assert status == 0, error
    assert machine.read("node-6379.conf").startswith("maxmemory ")


@pytest.mark.parametrize("settings, said", [
    ({}, "sumcache-role"), ({"SUMCACHE_ROLE": "boss"}, "'boss'"), ({"SUMCACHE_ROLE": "proxy"}, "sumcache-nodes is not set"),
    ({"SUMCACHE_ROLE": "proxy", "SUMCACHE_NODES": "10.0.0.1"}, "not 'static"),
    ({"SUMCACHE_ROLE": "proxy", "SUMCACHE_NODES": "static ten:eleven"}, "the configuration is wrong"),
])
def test_what_is_wrong_is_said(machine, settings, said):
    status, error, calls = machine.start(settings)
    assert status == 1 and said in error
    assert not [call for call in calls if "sumcache.service" in call]


def test_shellcheck_finds_nothing():
    tools = [ROOT / "tools" / name for name in ("deb.sh", "deb_in_chroot.sh", "image_in_chroot.sh")]
    scripts = [SCRIPT, *tools, *sorted((ROOT / "deploy" / "debian").glob("p*"))]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
