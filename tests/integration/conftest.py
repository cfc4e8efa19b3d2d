# SPDX-License-Identifier: Apache-2.0
"""Fixtures. See processes.py for what they start and resp.py for how the tests speak to it.

    SUMCACHE_BIN             the daemon; build/sumcache unless given
    SUMCACHE_TEST_SLOWNESS   widens margins of time, for sanitizer builds
    SUMCACHE_STAND_IN=redis  tests the tests: a plain redis-server in the proxy's place
"""
import contextlib
import itertools
import resource
import shutil

import pytest

import dns_servers
import processes
import twemproxy

_prefix = itertools.count()


def pytest_configure(config):
    config.addinivalue_line("markers", "proxy_only: about the proxy itself; no stand-in can pass it")
    config.addinivalue_line("markers", "slow: moves much data or many clients; `-m 'not slow'` leaves it out")
    # A thousand clients are as many sockets here, and the usual soft limit is 1024.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))


def pytest_collection_modifyitems(items):
    if processes.STAND_IN:
        for item in items:
            if item.get_closest_marker("proxy_only"):
                item.add_marker(pytest.mark.skip(reason="a redis-server stands in for the proxy"))
    elif not processes.BINARY.exists():
        raise pytest.UsageError(f"{processes.BINARY} is not built (SUMCACHE_BIN names another)")


class Starter:
    """Starts processes and remembers them, so that all are ended and their logs are at hand."""

    def __init__(self, directory):
        self.directory = directory
        self.started = []

    def node(self, **options):
        return self._keep(processes.Node(self.directory, **options))

    def nodes(self, count, **options):
        return [self.node(**options) for _ in range(count)]

    def nodes_of_a_name(self, count):
        """Nodes that differ in their addresses only, as those of a DNS name do."""
        for _ in range(20):
            port, hosts = processes.free_port(), [f"127.0.1.{i + 1}" for i in range(count)]
            if not any(processes.is_open(port, host) for host in hosts):
                return [self.node(port=port, host=host) for host in hosts]
        raise RuntimeError("no free port")

    def dns(self, port=None):
        return self._keep(dns_servers.Dnsmasq(self.directory, port))

    def proxy(self, nodes, settings=None, **options):
        return self._keep(processes.Proxy(self.directory, nodes, settings, **options))

    def twemproxy(self, servers, *options):
        return self._keep(twemproxy.Twemproxy(self.directory, servers, *options))

    def process(self, argv, **options):
        log = self.directory / f"process-{len(self.started)}.log"
        return self._keep(processes.Process(argv, log, **options))

    def _keep(self, process):
        self.started.append(process)
        return process

    def end(self):
        errors = []
        while self.started:
            try:
                self.started.pop().end()
            except AssertionError as error:
                errors.append(str(error))
        assert not errors, "\n".join(errors)


@pytest.fixture(scope="session")
def starter_of():
    """For fixtures of a module that start much: `with starter_of(directory) as starter`."""
    @contextlib.contextmanager
    def make(directory):
        starter = Starter(directory)
        try:
            yield starter
        finally:
            starter.end()
    return make


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shared")
    starter = Starter(directory)
    yield starter
    starter.end()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def start(tmp_path):
    """Starts processes for one test."""
    starter = Starter(tmp_path)
    yield starter
    starter.end()


@pytest.fixture
def dns(start):
    return start.dns()


@pytest.fixture(scope="session")
def nodes(shared):
    """Three nodes that all tests share; tests that hurt nodes start their own."""
    return shared.nodes(3)


@pytest.fixture(scope="session")
def proxy(shared, nodes):
    """A proxy over `nodes` with default settings but for the deadline: a busy machine must not make
    a test of something else fail."""
    return shared.proxy(nodes, {"timeouts": {"request": "10s", "stall": "10s"}})


@pytest.fixture(scope="session")
def redis(shared):
    """One Redis: what the proxy wants to look like."""
    return shared.node()


@pytest.fixture
def client(proxy):
    with proxy.connect() as connection:
        yield connection


@pytest.fixture
def key():
    """Makes keys that no other test uses."""
    prefix = f"k{next(_prefix)}"
    return lambda name="": f"{prefix}:{name}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if call.when != "call" or not report.failed:
        return
    for fixture in ("start", "shared"):
        starter = item.funcargs.get(fixture)
        for process in starter.started if starter else ():
            end = -4000 if isinstance(process, processes.Proxy) else -500
            report.sections.append((f"{fixture}: {' '.join(process.argv[:4])}", process.log()[end:]))
