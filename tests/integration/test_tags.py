# SPDX-License-Identifier: Apache-2.0
"""Values with tags, SUMCACHE.SET and GET, which SUMCACHE.INVALIDATE takes away together wherever they
lie; and what is lost is a miss (docs/decisions/0010)."""
import random
import threading
import time

import pytest

import cluster
from cluster import eject_by_requests, keys_of, keys_where, owner, settings, wait_until_up, without
from resp import Error, encode, eventually

pytestmark = pytest.mark.proxy_only
PATIENCE = cluster.PATIENCE


def tag_key(tag):
    return f"sumcache:tag:{tag}"


def tag_of(nodes, node, prefix="tag"):
    """A tag whose generation lies at that node."""
    return keys_where(lambda tag: owner(nodes, tag_key(tag)) is node, 1, prefix)[0]


@pytest.fixture
def three(start):
    return start.nodes(3)


@pytest.fixture(name="calm")
def calm_proxy(start, three):
    return start.proxy(three, settings(timeouts={**cluster.BACKOFF, "request": "10s"}), workers=2)


def put(client, key, value, *tags, options=(), generations=()):
    words = ["GENERATIONS", *generations] if generations else []
    return client.ask("SUMCACHE.SET", key, value, *options, "TAGS", *tags, *words)


def get(client, key):
    return client.ask("SUMCACHE.GET", key)


# ---- what it does ----

@pytest.mark.parametrize("protocol", [2, 3])
def test_a_group_is_gone_at_once_on_all_nodes(calm, three, protocol):
    keys = [f"page:{i}" for i in range(300)]
    with calm.connect(protocol=protocol) as client:
        assert get(client, keys[0]) is None
        for i, key in enumerate(keys):
            assert put(client, key, f"value {i}", f"user:{i % 3}", "all") == "OK"
        assert len({owner(three, key) for key in keys}) == 3
        assert [get(client, key) for key in keys] == [f"value {i}".encode() for i in range(300)]
        assert client.ask("SUMCACHE.INVALIDATE", "user:1") == 1
        found = [get(client, key) for key in keys]
        assert found == [None if i % 3 == 1 else f"value {i}".encode() for i in range(300)]
        # It can be filled again at once, and what was there stays dead.
        assert put(client, keys[1], "new", "user:1", "all") == "OK"
        assert get(client, keys[1]) == b"new" and get(client, keys[4]) is None
        assert client.ask("SUMCACHE.INVALIDATE", "all", "user:0", "never heard of") == 2
        assert [get(client, key) for key in keys] == [None] * 300
        assert client.ask("SUMCACHE.INVALIDATE", "all") == 0
    counters = calm.counters()
    assert counters["tagged_outdated"] == 100 + 1 + 300
    assert counters["tagged_hits"] == 300 + 200 + 1
    assert counters["tagged_misses"] == 1 + counters["tagged_outdated"]


def test_other_commands_see_that_it_is_no_string(calm):
    with calm.connect() as client:
        put(client, "k", "v", "t")
        assert str(client.ask("GET", "k")).startswith("WRONGTYPE")
        assert client.ask("TYPE", "k") == "hash"
        # What was there is overwritten, whatever it was.
        for other in (["SET", "k", "x"], ["RPUSH", "l", "x"], ["HSET", "h", "a", "b"]):
            client.ask(*other)
            if other[0] != "HSET":
                assert str(get(client, other[1])).startswith("WRONGTYPE")
            assert put(client, other[1], "v", "t") == "OK"
            assert get(client, other[1]) == b"v"
        assert client.ask("HEXISTS", "h", "a") == 0
        # A hash of somebody else's is no value.
        client.ask("DEL", "h")
        for fields in (["f", "x"], ["v", "x"], ["v", "x", "t", "nonsense"], ["t", "0123456789abcdef1:t"]):
            client.ask("HSET", "h", *fields)
            assert get(client, "h") is None
        assert client.ask("DEL", "k") == 1
        assert get(client, "k") is None
        client.ask("SET", tag_key("odd"), "no generation")
        assert isinstance(put(client, "k", "v", "odd"), Error)
        assert isinstance(client.ask("SUMCACHE.TAGS", "t", "odd"), Error)


def test_bytes_of_all_kinds(calm):
    with calm.connect() as client:
        for value in (b"", b"\r\n$-1\r\n", bytes(range(256)), b"0123456789abcdef1:t"):
            for key in (b"", b"\x00\xff", b"{a}b", b"k" * 20000):
                assert put(client, key, value, b"", b"\r\n", b"\xff\x00", b"5:x") == "OK"
                assert get(client, key) == value
        client.send(b"sumcache.set inline value tags t\r\n")
        assert client.reply().value == "OK"
        assert get(client, "inline") == b"value"
        many = [f"tag {i}" for i in range(64)]
        assert put(client, "k", "v", *many) == "OK"
        assert get(client, "k") == b"v"
        assert client.ask("SUMCACHE.INVALIDATE", many[63]) == 1
        assert get(client, "k") is None
        assert str(put(client, "k", "v", *many, "one more")) == "ERR sumcache: there may be at most 64 tags"


def test_time_to_live(calm, three):
    with calm.connect() as client:
        for options, at_least, at_most in ((["EX", 100], 99_000, 100_000), (["PX", 5000], 3000, 5000),
                                           (["EXAT", int(time.time()) + 100], 97_000, 100_000),
                                           (["PXAT", int(time.time() * 1000) + 5000], 3000, 5000)):
            assert put(client, "k", "v", "t", options=options) == "OK"
            assert at_least <= client.ask("PTTL", "k") <= at_most
        assert put(client, "k", "v", "t") == "OK"
        assert client.ask("PTTL", "k") == -1
        assert put(client, "k", "v", "t", options=["PX", 30]) == "OK"
        eventually(lambda: get(client, "k") is None, within=PATIENCE)
        # A generation lives for timeouts.tag, or as long as the value that asked for it.
        node = owner(three, tag_key("t"))
        month = 30 * 24 * 3600 * 1000
        assert month - 60_000 < node.ask("PTTL", tag_key("t")) <= month
        put(client, "k", "v", "t", options=["EX", 10 ** 7])
        assert 10 ** 10 - 60_000 < node.ask("PTTL", tag_key("t")) <= 10 ** 10
        put(client, "k", "v", "t", options=["EX", 1])
        assert node.ask("PTTL", tag_key("t")) > 10 ** 10 - 60_000


def test_large_values(calm):
    """In memory whole, one at a time, and no longer than a request that is gathered may be."""
    value = random.Random(5).randbytes(5 * 1024 * 1024)
    with calm.connect() as client:
        for _ in range(3):
            assert put(client, "large", value, "t") == "OK"
            assert get(client, "large") == value
        client.send(encode("SUMCACHE.GET", "large") * 3 + encode("PING"))
        assert [reply.value for reply in client.replies(4)] == [value, value, value, "PONG"]
        client.ask("SUMCACHE.INVALIDATE", "t")
        assert get(client, "large") is None
    eventually(lambda: calm.counter("buffer_bytes") < 1024 * 1024, within=PATIENCE, what="memory is given back")


def test_a_value_that_is_too_long(start, three):
    proxy = start.proxy(three, settings(limits={"max_split_request": "100kb"}))
    with proxy.connect() as client:
        assert put(client, "k", "x" * 90_000, "t") == "OK"
        answer = put(client, "k", "x" * 110_000, "t")
        assert str(answer) == "ERR sumcache: request is longer than limits.max_split_request"
        assert get(client, "k") == b"x" * 90_000


def test_rules_for_prefixes(start, three):
    rules = ["denied:* deny", "short:* default_ttl=50s max_value=1kb", "capped:* max_ttl=10s"]
    proxy = start.proxy(three, settings(policy={"rules": rules}, timeouts={**cluster.BACKOFF, "request": "10s"}))
    with proxy.connect() as client:
        assert str(put(client, "denied:1", "v", "t")).startswith("NOPERM sumcache: policy.rules denies")
        assert str(get(client, "denied:1")).startswith("NOPERM sumcache: policy.rules denies")
        assert str(put(client, "short:1", "v" * 2000, "t")).startswith("ERR sumcache: value is longer than max_value")
        assert put(client, "short:1", "v", "t") == "OK"
        assert put(client, "capped:1", "v", "t", options=["EX", 100]) == "OK"
        assert get(client, "short:1") == b"v" and get(client, "capped:1") == b"v"
        assert 40_000 < client.ask("PTTL", "short:1") <= 50_000
        assert 5_000 < client.ask("PTTL", "capped:1") <= 10_000
    assert proxy.counter("policy_denied") == 2 and proxy.counter("policy_too_long") == 1


def test_a_pipeline_keeps_its_order(calm):
    with calm.connect() as client:
        requests = []
        for i in range(50):
            requests += [("SUMCACHE.SET", "k", str(i), "TAGS", "t"), ("DEL", "k"), ("EXISTS", "k"),
                         ("SUMCACHE.SET", "k", str(i), "TAGS", "t"), ("EXISTS", "k")]
        client.send(b"".join(encode(*request) for request in requests))
        assert [reply.value for reply in client.replies(len(requests))] == ["OK", 1, 0, "OK", 1] * 50


# ---- late writes ----

def test_a_late_write_cannot_undo_an_invalidation(calm):
    """Who computes a value takes the generations before, and gives them back with it."""
    with calm.connect() as loader, calm.connect() as other:
        generations = loader.ask("SUMCACHE.TAGS", "a", "b")
        assert len(set(generations)) == 2 and all(len(one) == 16 for one in generations)
        assert loader.ask("SUMCACHE.TAGS", "b", "a") == generations[::-1]
        # Nothing happens meanwhile: it is valid.
        assert put(loader, "k", "loaded", "a", "b", generations=generations) == "OK"
        assert get(loader, "k") == b"loaded"
        # Something does.
        assert other.ask("SUMCACHE.INVALIDATE", "b") == 1
        assert put(loader, "k", "loaded before", "a", "b", generations=generations) == "OK"
        assert get(loader, "k") is None
        # Also if others have filled the group again by then.
        assert put(other, "other", "x", "b") == "OK"
        assert put(loader, "k", "loaded before", "a", "b", generations=generations) == "OK"
        assert get(loader, "k") is None and get(other, "other") == b"x"


def test_loaders_and_invalidations_all_the_time(start, three):
    """Of each group a counter is the truth. A reader never sees a value that is older than the last
    invalidation that was acknowledged before it asked; with two proxies."""
    proxies = [start.proxy(three, settings(timeouts={**cluster.BACKOFF, "request": "10s"}), workers=2)
               for _ in range(2)]
    groups = [f"g{i}" for i in range(8)]
    truth, floor = dict.fromkeys(groups, 0), dict.fromkeys(groups, 0)
    stale, broken, over = [], [], threading.Event()
    hits = [0]

    def guarded(work, me):
        rng = random.Random(me)
        try:
            with proxies[me % 2].connect() as client:
                while not over.is_set():
                    work(client, rng, rng.choice(groups))
        except Exception as error:  # pylint: disable=broad-except
            broken.append(repr(error))

    def read_or_load(client, rng, group):
        key = f"{group}:{rng.randrange(3)}"
        least = floor[group]
        value = get(client, key)
        if value is not None:
            hits[0] += 1
            if int(value) < least:
                stale.append((key, value, least))
            return
        generations = client.ask("SUMCACHE.TAGS", group, "all")
        loaded = truth[group]
        if rng.random() < 0.3:
            time.sleep(0.002)  # the truth may change, and the group be invalidated
        assert put(client, key, loaded, group, "all", generations=generations) == "OK"

    def change(client, rng, group):
        truth[group] += 1
        now = truth[group]
        assert isinstance(client.ask("SUMCACHE.INVALIDATE", group), int)
        floor[group] = now
        time.sleep(rng.random() * 0.02)

    # One writer, so that the truth of a group only grows by one hand.
    threads = [threading.Thread(target=guarded, args=(read_or_load, me)) for me in range(4)]
    threads.append(threading.Thread(target=guarded, args=(change, 5)))
    for thread in threads:
        thread.start()
    time.sleep(3)
    over.set()
    for thread in threads:
        thread.join()
    assert broken == [] and stale == []
    assert hits[0] > 100 and sum(truth.values()) > 50


# ---- what is lost is a miss ----

def test_a_generation_that_was_evicted(calm, three):
    with calm.connect() as client:
        put(client, "k", "v", "a", "b")
        assert owner(three, tag_key("a")).ask("DEL", tag_key("a")) == 1
        assert get(client, "k") is None
        # Another one does not bring it back.
        client.ask("SUMCACHE.TAGS", "a")
        assert get(client, "k") is None
        assert put(client, "k", "v2", "a", "b") == "OK"
        assert get(client, "k") == b"v2"


def test_two_proxies(start, three):
    one, two = (start.proxy(three, settings(timeouts={**cluster.BACKOFF, "request": "10s"})) for _ in range(2))
    with one.connect() as a, two.connect() as b:
        assert put(a, "k", "v", "t") == "OK"
        assert get(b, "k") == b"v"
        assert b.ask("SUMCACHE.INVALIDATE", "t") == 1
        assert get(a, "k") is None
        generations = a.ask("SUMCACHE.TAGS", "t")
        assert b.ask("SUMCACHE.TAGS", "t") == generations
        assert put(b, "k", "v2", "t", generations=generations) == "OK"
        assert get(a, "k") == b"v2"


@pytest.mark.parametrize("which", ["value", "tag"])
def test_a_node_is_down(start, three, which):
    lame = three[0]
    proxy = start.proxy(three, settings(health={"hold_min": "10s"}))
    rest = without(three, lame)
    key = keys_of(three, lame if which == "value" else rest[0], 1)[0]
    tag = tag_of(three, lame if which == "tag" else rest[0])
    with proxy.connect() as client:
        assert put(client, key, "v", tag) == "OK"
        assert get(client, key) == b"v"
        lame.freeze()
        assert get(client, key) is None  # late
        client.ask("SUMCACHE.FAILURES", "error")
        errors = [get(client, key), put(client, key, "v", tag)]
        if which == "tag":
            errors += [client.ask("SUMCACHE.INVALIDATE", tag), client.ask("SUMCACHE.TAGS", tag, tag_of(three, rest[0]))]
        for answer in errors:
            assert isinstance(answer, Error) or proxy.state_of(lame) == "out"
        eject_by_requests(proxy, lame, keys_of(three, lame, 1)[0])
        assert get(client, key) is None
        assert put(client, key, "v2", tag) == "OK"
        assert get(client, key) == b"v2"
    lame.thaw()


def test_a_node_comes_back_with_an_old_generation(start, three):
    """It was invalidated meanwhile: that it has forgotten before it is asked."""
    lame = three[0]
    proxy = start.proxy(three, settings(), workers=2)
    rest = without(three, lame)
    key, tag, other = keys_of(three, rest[0], 1)[0], tag_of(three, lame), tag_of(three, lame, "other")
    with proxy.connect() as client:
        assert put(client, key, "old", tag) == "OK"
        assert put(client, key + "x", "kept", other) == "OK"
        lame.freeze()
        eject_by_requests(proxy, lame, keys_of(three, lame, 1)[0])
        eventually(lambda: not isinstance(client.ask("SUMCACHE.INVALIDATE", tag), Error), within=PATIENCE)
        assert get(client, key) is None
        stale, over = [], threading.Event()

        def read():
            with proxy.connect() as reader:
                while not over.is_set():
                    if (value := get(reader, key)) is not None:
                        stale.append(value)

        reader = threading.Thread(target=read)
        reader.start()
        lame.thaw()
        wait_until_up(proxy, lame)
        time.sleep(0.1)
        over.set()
        reader.join()
        assert stale == []
        assert lame.ask("EXISTS", tag_key(tag)) == 0
        # What nobody touched is valid again.
        if owner(three, key + "x") is not lame:
            assert eventually(lambda: get(client, key + "x") == b"kept", within=PATIENCE)


def test_an_old_value_comes_back(start, three):
    """Its node was out while its group was invalidated at another node."""
    lame = three[0]
    proxy = start.proxy(three, settings(), workers=2)
    key, tag = keys_of(three, lame, 1)[0], tag_of(three, three[1])
    with proxy.connect() as client:
        assert put(client, key, "old", tag) == "OK"
        lame.freeze()
        eject_by_requests(proxy, lame, key)
        assert client.ask("SUMCACHE.INVALIDATE", tag) == 1
        lame.thaw()
        wait_until_up(proxy, lame)
        assert lame.ask("EXISTS", key) == 1
        assert get(client, key) is None
        client.ask("SUMCACHE.TAGS", tag)
        assert get(client, key) is None


def test_a_job_that_removes_generations(calm):
    """Patterns match them as any other key; then their values are misses."""
    with calm.connect() as client:
        put(client, "k", "v", "users:1")
        number = client.ask("SUMCACHE.UNLINK", "MATCH", "sumcache:tag:users:*")
        eventually(lambda: client.ask("SUMCACHE.JOBS", number)[0][5] == b"done", within=PATIENCE)
        assert client.ask("EXISTS", "k") == 1 and get(client, "k") is None


def test_without_nodes(start):
    proxy = start.proxy(["127.0.0.1:1"], settings())
    with proxy.connect() as client:
        eventually(lambda: proxy.state_of("127.0.0.1:1") == "out", within=PATIENCE)
        eventually(lambda: get(client, "k") is None and isinstance(put(client, "k", "v", "t"), Error), within=PATIENCE)
        assert isinstance(client.ask("SUMCACHE.TAGS", "t"), Error)
        assert isinstance(client.ask("SUMCACHE.INVALIDATE", "t"), Error)
