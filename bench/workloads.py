# SPDX-License-Identifier: Apache-2.0
"""What is measured, and what is aimed at. README.md explains both."""

import copy

KIB = 1024
MIB = 1024 * 1024
MB = 1000 * 1000

CLOSED = "closed"  # everybody asks again when answered
OPEN = "open"  # requests come by the clock
BESIDE = "beside"  # small requests, first alone, then beside large ones
SLOW = "slow"  # small and large requests beside slow readers
MIXED = (BESIDE, SLOW)


class Load:
    """What one bench_load does."""

    def __init__(self, command, value_size, clients, *, keys=None, pipeline=1, rate=None,
                 read_rate=None):
        self.command = command
        self.value_size = value_size
        self.clients = clients
        self.keys = keys  # None: what --keys says
        self.pipeline = pipeline
        self.rate = rate
        self.read_rate = read_rate

    def arguments(self, keys_max):
        arguments = ["-d", self.command, "-s", self.value_size, "-c", self.clients,
                     "-P", self.pipeline, "-k", min(self.keys or keys_max, keys_max)]
        if self.rate:
            arguments += ["-r", self.rate]
        if self.read_rate:
            arguments += ["-R", self.read_rate]
        return arguments

    def half(self):
        """For two peers at once: half the requests by the clock, or half the clients."""
        some = copy.copy(self)
        if self.rate:
            some.rate = self.rate / 2
        else:
            some.clients = max(1, self.clients // 2)
        return some


class Workload:
    def __init__(self, name, title, load, *, short=None, kind=CLOSED, layouts="BSA", without=(),
                 beside=None, long=False, in_quick=True):
        self.name = name
        self.title = title
        self.short = short or title
        self.load = load
        self.kind = kind
        self.layouts = layouts  # those it runs in unless it is asked for by name
        self.without = without  # peers that it says nothing about
        self.beside = beside or {}  # word → load that goes on in the background
        self.long = long  # a third of the rounds, each 2.5 times as long
        self.in_quick = in_quick

    @property
    def loads(self):
        return [self.load, *self.beside.values()]

    def half(self):
        some = copy.copy(self)
        some.load = self.load.half()
        some.beside = {word: load.half() for word, load in self.beside.items()}
        return some


ONE = ("direct3", "nogather")
THREE = ("direct", "floor")

WORKLOADS = [
    Workload("get1k-c50", "GET 1 KiB, 50 connections", Load("get", KIB, 50), without=("direct3",)),
    Workload("set1k-c50", "SET 1 KiB, 50 connections", Load("set", KIB, 50), without=ONE,
             layouts="BS", in_quick=False),
    Workload("get1k-c1000", "GET 1 KiB, 1,000 connections", Load("get", KIB, 1000),
             without=("direct3",)),
    Workload("set1k-c1000", "SET 1 KiB, 1,000 connections", Load("set", KIB, 1000), without=ONE,
             layouts="BS", in_quick=False),
    Workload("get64-p16", "GET 64 B, 50 connections, pipeline 16",
             Load("get", 64, 50, pipeline=16), without=ONE),
    Workload("mget20", "MGET of 20 keys, 100 B each, 50 connections", Load("mget:20", 100, 50),
             without=ONE),
    Workload("get100k", "GET 100 KiB, 20 connections", Load("get", 100 * KIB, 20, keys=500),
             layouts="BA", without=ONE),
    # A canned reply of 5 MiB says nothing about two socket calls any more.
    Workload("get5m", "GET 5 MiB, 4 connections", Load("get", 5 * MIB, 4, keys=16),
             layouts="BA", without=(*ONE, "floor")),
    Workload("set5m", "SET 5 MiB, 4 connections", Load("set", 5 * MIB, 4, keys=16),
             layouts="BA", without=(*ONE, "floor")),
    Workload("open15k", "GET 1 KiB, open loop, 15,000 a second over 50 connections",
             Load("get", KIB, 50, rate=15000), short="GET 1 KiB, 15,000 a second", kind=OPEN, layouts="BA", without=THREE),
    Workload("beside", "GET 1 KiB, 8 connections, beside 2 clients that move 20 × 5 MB/s each",
             Load("get", KIB, 8), short="GET 1 KiB beside 200 MB/s of 5 MB", kind=BESIDE,
             layouts="BA", without=(*THREE, "nogather"),
             beside={"large": Load("get", 5 * MB, 2, keys=16, rate=40)}),
    Workload("slow", "GET 1 KiB, open loop, 10,000 a second over 50 connections, beside 4 clients "
             "that GET 5 MiB and 12 that read 5 MiB at 3.2 MB/s",
             Load("get", KIB, 50, rate=10000), short="GET 1 KiB beside slow readers", kind=SLOW,
             layouts="BA",
             without=(*THREE, "nogather"), long=True,
             beside={"slow": Load("get", 5 * MIB, 12, keys=16, read_rate=3.2 * MB),
                     "large": Load("get", 5 * MIB, 4, keys=16)}),
]

# Parts that no layout divides, with modules of their own.
MEMORY = "memory"
IDLE = "idle"
EXTRA_PARTS = (MEMORY, IDLE)

DEBIAN_PEERS = ("haproxy", "twemproxy")
BEST_OF_DEBIAN = "the better of haproxy and twemproxy"
BEST_OF_ALL = "the best other proxy"


class Target:
    """sumcache's `field` over that of a peer, at most `limit`, round by round."""

    def __init__(self, layouts, workload, field, peer, limit):
        self.layouts = layouts
        self.workload = workload
        self.field = field
        self.peer = peer
        self.limit = limit


FIELD_WORDS = {
    "cpu": "CPU of the proxy",
    "all": "CPU of all processes",
    "p50": "p50",
    "p99": "p99",
    "p99_ratio": "p99 beside large values over p99 without",
}

SATURATED = ("get1k-c50", "get1k-c1000", "get64-p16", "mget20", "get100k", "get5m", "set5m")

TARGETS = [
    Target("BS", "get1k-c50", "cpu", "floor", 1.25),
    Target("BS", "get1k-c50", "cpu", "twemproxy", 0.7),
    Target("BS", "get1k-c1000", "cpu", "twemproxy", 0.7),
    Target("BS", "get64-p16", "cpu", "haproxy", 0.8),
    Target("BS", "mget20", "cpu", "twemproxy", 0.6),
    Target("B", "get100k", "cpu", "twemproxy", 0.8),
    Target("B", "get5m", "cpu", "twemproxy", 0.8),
    Target("B", "set5m", "cpu", "twemproxy", 0.9),
    *[Target("A", name, "all", BEST_OF_DEBIAN, 1.05) for name in SATURATED],
    Target("A", "open15k", "all", BEST_OF_DEBIAN, 1.05),
    Target("A", "open15k", "p50", "nogather", 1.05),
    Target("BA", "beside", "p99_ratio", "direct3", 1.25),
    Target("BA", "beside", "p99", BEST_OF_ALL, 1.0),
]
