# SPDX-License-Identifier: Apache-2.0
"""Publish and subscribe over several nodes and proxies: each message at most once, and once while nothing
changes; and as one Redis would say it."""
import threading
import time

import pytest

import cluster
import resp
from cluster import owner
from processes import SLOWNESS

pytestmark = pytest.mark.proxy_only

FEED = {"timeouts": {**cluster.BACKOFF, "feed": "200ms", "request": "5s"}}


def settings(**sections):
    return {**cluster.settings(), **FEED, **sections}


def subscribe(connection, word, *names):
    """Returns the confirmations."""
    connection.send(resp.encode(word, *names))
    return [reply.value for reply in connection.replies(len(names))]


def message(connection):
    return connection.reply().value


@pytest.fixture(scope="module")
def hub(shared, nodes):
    """A proxy of two workers over `nodes`, and a second one."""
    return [shared.proxy(nodes, {"timeouts": {"request": "10s"}}, workers=2) for _ in range(2)]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("word,tell,spread", [("SUBSCRIBE", b"subscribe", "PUBLISH"),
                                              ("SSUBSCRIBE", b"ssubscribe", "SPUBLISH")])
def test_channels_on_two_proxies(hub, key, protocol, word, tell, spread):
    names = [key(i).encode() for i in range(20)]
    with hub[0].connect(protocol=protocol) as one, hub[1].connect(protocol=protocol) as two, hub[1].connect() as teller:
        for connection in (one, two):
            assert subscribe(connection, word, *names) == [[tell, name, i + 1] for i, name in enumerate(names)]
        for i, name in enumerate(names):
            assert teller.ask(spread, name, f"text {i}") == 2  # one feed for each proxy
        kind = b"smessage" if word[0] == "S" and word[1] == "S" else b"message"
        for connection in (one, two):
            got = [message(connection) for _ in names]
            assert sorted(got) == sorted([kind, name, b"text %d" % i] for i, name in enumerate(names))
            assert connection.is_quiet()


def test_the_bytes_are_those_of_one_redis(hub, redis, key):
    """Confirmations and messages of RESP2 and RESP3, of all kinds, byte for byte."""
    name, pattern = key("a"), key("") + "*"
    script = [("SUBSCRIBE", name, name + "2", name), ("PSUBSCRIBE", pattern), ("SSUBSCRIBE", name), ("PING",), ("PING", "x"),
              ("UNSUBSCRIBE", name + "2", "no-such"), ("PUNSUBSCRIBE",), ("PUNSUBSCRIBE",), ("GET", key("k")), ("CLIENT", "INFO"),
              ("SUNSUBSCRIBE",), ("UNSUBSCRIBE",), ("UNSUBSCRIBE",), ("GET", key("k"))]
    for protocol in (2, 3):
        said = []
        for port in (hub[0].port, redis.port):
            with resp.Connection(port, protocol=protocol) as one, resp.Connection(port) as teller:
                raw = []
                for args in script:
                    one.send(resp.encode(*args))
                    count = max(1, len(args) - 1) if "SUBSCRIBE" in args[0] else 1
                    replies = one.replies(count)
                    if args != ("CLIENT", "INFO") or protocol == 2:
                        raw += [reply.raw for reply in replies]
                    if args[0] == "SSUBSCRIBE":
                        teller.ask("PUBLISH", name, "text")
                        raw += sorted(reply.raw for reply in one.replies(2))
                        teller.ask("SPUBLISH", name, "text")
                        raw.append(one.reply().raw)
                said.append(raw)
        assert said[0] == said[1]


@pytest.mark.parametrize("protocol", [2, 3])
def test_patterns_hear_every_node_once(hub, key, protocol):
    with hub[0].connect(protocol=protocol) as one, hub[1].connect() as teller:
        subscribe(one, "PSUBSCRIBE", key("") + "*")
        subscribe(one, "SUBSCRIBE", key(5))
        for i in range(60):
            assert teller.ask("PUBLISH", key(i), i) == 1 + (i == 5)
        got = sorted((message(one) for _ in range(61)), key=lambda m: (int(m[-1]), len(m)))
        expected = [[b"pmessage", (key("") + "*").encode(), key(i).encode(), str(i).encode()] for i in range(60)]
        expected.insert(5, [b"message", key(5).encode(), b"5"])
        assert got == expected
        assert one.is_quiet()


@pytest.mark.parametrize("protocol", [2, 3])
def test_what_pubsub_tells(start, redis, nodes, key, protocol):
    """As one Redis would, but that it counts proxies (their workers), not clients."""
    proxies = [start.proxy(nodes, settings()) for _ in range(2)]
    names = [key(i) for i in range(30)]
    direct = [redis.connect() for _ in range(2)]
    ours = [proxy.connect() for proxy in proxies]
    asks = [("PUBSUB", "CHANNELS", key("") + "*"), ("PUBSUB", "CHANNELS", "none*"), ("PUBSUB", "NUMSUB", *names, "none"), ("PUBSUB", "NUMSUB"),
            ("PUBSUB", "NUMPAT"), ("PUBSUB", "SHARDCHANNELS", key("") + "*"), ("PUBSUB", "SHARDNUMSUB", *names[:3], "none"),
            ("PUBSUB", "CHANNELS", "a", "b"), ("pubsub", "shardChannels", "a", "b"), ("PUBSUB", "NUMPAT", "x"), ("PUBSUB", "none")]
    said = []
    for one, two in (direct, ours):
        subscribe(one, "SUBSCRIBE", *names)
        subscribe(two, "SUBSCRIBE", *names[10:20])
        subscribe(one, "PSUBSCRIBE", "a*", "b*")
        subscribe(two, "PSUBSCRIBE", "b*", "c*")
        subscribe(two, "SSUBSCRIBE", *names[:2])
    for port in (redis.port, proxies[0].port):
        with resp.Connection(port, protocol=protocol) as asker:
            answers = [asker.ask(*args) for args in asks]
            said.append([sorted(a) if "CHANNELS" in args[1] and isinstance(a, list) else str(a) for args, a in zip(asks, answers)])
    assert said[0] == said[1]
    for connection in direct + ours:
        connection.close()


def test_what_a_subscriber_of_resp2_may_not_do(hub, redis, key):
    for args in (("GET", "k"), ("SET", "k", "x" * 100_000), ("PUBLISH", "a", "b"), ("CLIENT", "ID"), ("HELLO", "3"), ("INFO",),
                 ("GET",), ("nonsense",)):
        said = []
        for port in (hub[0].port, redis.port):
            with resp.Connection(port) as one:
                subscribe(one, "SUBSCRIBE", key())
                said.append(one.ask_raw(*args))
                assert one.ask("PING") == [b"pong", b""]
        assert said[0] == said[1], args


def aborted(answer):
    return str(answer) == "EXECABORT Transaction discarded because of previous errors."


@pytest.mark.parametrize("spread,hear,kind", [("PUBLISH", "SUBSCRIBE", b"message"), ("SPUBLISH", "SSUBSCRIBE", b"smessage")])
def test_a_transaction_publishes_on_the_node_of_its_keys(hub, nodes, key, spread, hear, kind):
    tag = "{" + key(0) + "}"
    channel = f"{tag}news".encode()
    before = sum(proxy.counter("messages_published") for proxy in hub)
    with hub[0].connect() as listener, hub[1].connect() as teller:
        subscribe(listener, hear, channel)
        for watched in ([], ["WATCH"]):
            if watched:
                assert teller.ask("WATCH", f"{tag}a") == "OK"
            assert teller.ask("MULTI") == "OK"
            for command in (["SET", f"{tag}a", "1"], [spread, channel, "one"], ["PING"], [spread, channel, "two"]):
                assert teller.ask(*command) == "QUEUED"
            assert listener.is_quiet()
            assert teller.ask("EXEC") == ["OK", 1, "PONG", 1]
            assert [message(listener), message(listener)] == [[kind, channel, b"one"], [kind, channel, b"two"]]
        assert sum(proxy.counter("messages_published") for proxy in hub) == before + 4
        elsewhere = next(name for name in map(key, range(1, 100)) if owner(nodes, name) != owner(nodes, tag))
        assert teller.ask("MULTI") == "OK"
        assert teller.ask("SET", f"{tag}a", "2") == "QUEUED"
        assert str(teller.ask(spread, elsewhere, "m")).startswith("CROSSSLOT ")
        assert aborted(teller.ask("EXEC"))
        # What publishes first says which node it is.
        assert teller.ask("MULTI") == "OK"
        assert teller.ask(spread, channel, "three") == "QUEUED"
        assert str(teller.ask("SET", elsewhere, "1")).startswith("CROSSSLOT ")
        assert aborted(teller.ask("EXEC"))
        assert listener.is_quiet()


@pytest.mark.parametrize("command", ["SUBSCRIBE c", "PSUBSCRIBE c", "SSUBSCRIBE c", "UNSUBSCRIBE", "PUNSUBSCRIBE",
                                     "SUNSUBSCRIBE", "PUBSUB CHANNELS", "PUBSUB NUMSUB c", "PUBSUB NUMPAT"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_nobody_subscribes_inside_multi(hub, protocol, command):
    """On one Redis the confirmation would be an element of EXEC's answer, and messages could come within that."""
    with hub[0].connect(protocol=protocol) as client:
        assert client.ask("MULTI") == "OK"
        name = "|".join(command.lower().split()[:2]) if command.startswith("PUBSUB") else command.split()[0].lower()
        assert str(client.ask(*command.split())) == f"ERR sumcache: '{name}' is not offered inside MULTI"
        assert aborted(client.ask("EXEC"))
        assert client.ask("PING") == "PONG"


def test_a_subscriber_of_resp3_has_transactions(hub, key):
    tag = "{" + key(0) + "}"
    with hub[0].connect(protocol=3) as client:
        subscribe(client, "SUBSCRIBE", f"{tag}news")
        assert client.ask("MULTI") == "OK"
        assert client.ask("PUBLISH", f"{tag}news", "m") == "QUEUED"
        assert client.ask("GET", f"{tag}k") == "QUEUED"
        client.send(resp.encode("EXEC"))
        got = [client.reply().value for _ in range(2)]
        assert [1, None] in got and [b"message", f"{tag}news".encode(), b"m"] in got
        # RESET ends both.
        assert client.ask("MULTI") == "OK"
        assert client.ask("RESET") == "RESET"
        assert str(client.ask("EXEC")) == "ERR EXEC without MULTI"
        assert hub[1].ask("PUBLISH", f"{tag}news", "m") == 0
        assert client.is_quiet()


def test_who_waits_in_a_command_that_blocks_hears(hub, key):
    """RESP3: a message comes to who waits for something else, and before that."""
    tag = "{" + key(0) + "}"
    with hub[0].connect(protocol=3) as client:
        subscribe(client, "SUBSCRIBE", f"{tag}news")
        client.send(resp.encode("BLPOP", f"{tag}list", "0") + resp.encode("PING"))
        resp.eventually(lambda: hub[0].counter("clients_blocked") == 1)
        assert hub[1].ask("PUBLISH", f"{tag}news", "m") == 1
        assert message(client) == [b"message", f"{tag}news".encode(), b"m"]
        assert hub[1].ask("RPUSH", f"{tag}list", "v") == 1
        assert client.reply().value == [f"{tag}list".encode(), b"v"]
        assert client.reply().value == "PONG"


def test_resp3_may_do_anything(hub, key):
    with hub[0].connect(protocol=3) as one:
        subscribe(one, "SUBSCRIBE", key("c"))
        assert one.ask("SET", key("k"), "v") == "OK"
        assert one.ask("GET", key("k")) == b"v"
        one.send(resp.encode("PUBLISH", key("c"), "text"))
        got = sorted((reply.value for reply in one.replies(2)), key=str)
        assert got == [1, [b"message", key("c").encode(), b"text"]]
        line = one.ask("CLIENT", "INFO")
        assert b" sub=1 psub=0 " in line and b" flags=P " in line
        assert one.ask("RESET") == "RESET"
        assert one.ask("PUBLISH", key("c"), "text") == 0


@pytest.mark.parametrize("way", ["RESET", "QUIT", "close", "UNSUBSCRIBE"])
def test_who_goes_leaves_nothing_behind(start, nodes, way):
    proxy = start.proxy(nodes, settings())
    with proxy.connect() as one, proxy.connect() as teller:
        subscribe(one, "SUBSCRIBE", *range(100))
        subscribe(one, "PSUBSCRIBE", "*")
        if way == "close":
            one.close()
        elif way == "UNSUBSCRIBE":
            one.send(resp.encode("UNSUBSCRIBE") + resp.encode("PUNSUBSCRIBE"))
            assert sorted(reply.value[2] for reply in one.replies(101)) == list(range(101))
        else:
            assert one.ask(way) in ("OK", "RESET")
        resp.eventually(lambda: teller.ask("PUBLISH", "5", "x") == 0, what="the node knows of no subscriber")
        assert proxy.counter("subscriptions") == 0 and proxy.counter("subscribers") == 0
        # Nothing is wanted any more, so there is nothing to be connected for.
        resp.eventually(lambda: proxy.counter("feeds_ready") + proxy.counter("feeds_waiting") == 0, what="no feeds")


def test_order_of_confirmations_and_replies(hub, key):
    """In one pipeline all comes in order, whichever node takes how long."""
    with hub[0].connect(protocol=3) as one:
        out, expected = [], []
        for i in range(50):
            out += [resp.encode("SET", key(i), i), resp.encode("SUBSCRIBE", key(f"c{i}")), resp.encode("GET", key(i))]
            expected += ["OK", [b"subscribe", key(f"c{i}").encode(), i + 1], str(i).encode()]
        one.send(b"".join(out))
        assert [reply.value for reply in one.replies(150)] == expected


def test_a_message_does_not_cut_a_streamed_reply(hub, key):
    """A large value passes through in stretches; what is published meanwhile comes before or behind it."""
    with hub[0].connect(protocol=3) as one, hub[0].connect() as teller:
        value = b"v" * (5 << 20)
        teller.ask("SET", key("large"), value)
        subscribe(one, "SUBSCRIBE", key("c"))
        for _ in range(5):
            one.send(resp.encode("GET", key("large")))
            for i in range(50):
                teller.ask("PUBLISH", key("c"), i)
            got = [reply.value for reply in one.replies(51)]
            assert got.count(value) == 1
            assert [m[2] for m in got if m != value] == [str(i).encode() for i in range(50)]


def test_a_thousand_subscribers_of_a_large_message(start, nodes):
    """Memory holds it once, not once for each."""
    count, size = 1000, 1 << 20
    proxy = start.proxy(nodes, settings(limits={"memory": "64mb"}, timeouts={**FEED["timeouts"], "client_stall": "60s", "tcp_user": 0}))
    ready = [proxy.connect(protocol=2 + i % 2) for i in range(count)]
    try:
        for one in ready:
            subscribe(one, "SUBSCRIBE", "c")
        with proxy.connect() as teller:
            assert teller.ask("PUBLISH", "c", "s") == 1
            assert teller.ask("PUBLISH", "c", b"x" * size) == 1
            for one in ready:
                assert message(one) == [b"message", b"c", b"s"]
                assert message(one) == [b"message", b"c", b"x" * size]
        assert proxy.counter("messages_sent") == 2 * count
        assert proxy.counter("memory_limit_hits") == 0
    finally:
        for one in ready:
            one.close()


def test_a_slow_subscriber_is_closed_and_slows_nobody(start, nodes):
    proxy = start.proxy(nodes, settings(limits={"client_pubsub_output": "1mb"}))
    with proxy.connect(rcvbuf=4096) as slow, proxy.connect() as quick, proxy.connect() as teller:
        for one in (slow, quick):
            subscribe(one, "SUBSCRIBE", "c")
        for i in range(300):
            teller.ask("PUBLISH", "c", b"%06d" % i + b"x" * 50_000)
            assert message(quick)[2][:6] == b"%06d" % i
        assert proxy.counter("clients_pubsub_limit") == 1
        assert len(slow.rest()) < 4 << 20


def test_limits(start, nodes):
    proxy = start.proxy(nodes, settings(limits={"client_subscriptions": 3, "subscriptions": 5}))
    with proxy.connect() as one, proxy.connect() as two:
        subscribe(one, "SUBSCRIBE", "a", "b")
        assert str(one.ask("SUBSCRIBE", "c", "d")) == "ERR sumcache: limits.client_subscriptions reached"
        subscribe(one, "PSUBSCRIBE", "c")
        assert str(two.ask("SUBSCRIBE", "a", "b", "c")) == "ERR sumcache: limits.subscriptions reached"
        subscribe(two, "SUBSCRIBE", "a", "b")
        assert "longer than 16384" in str(one.ask("SUBSCRIBE", "x" * 16385))
        assert proxy.counter("subscriptions_refused") == 3
        assert proxy.counter("subscriptions") == 5


def test_idle_subscribers_are_not_closed(start, nodes):
    proxy = start.proxy(nodes, settings(timeouts={**FEED["timeouts"], "client_idle": "200ms"}))
    with proxy.connect() as one, proxy.connect() as idle:
        subscribe(one, "SUBSCRIBE", "c")
        idle.rest()
        time.sleep(0.3)
        with proxy.connect() as teller:
            teller.ask("PUBLISH", "c", "x")
        assert message(one) == [b"message", b"c", b"x"]


# ---- nodes that go and come ----

def test_a_subscription_to_a_node_that_is_down_begins_when_it_is_back(start):
    nodes = start.nodes(2)
    proxy = start.proxy(nodes, settings(timeouts={**FEED["timeouts"], "request": "200ms"}))
    for node in nodes:
        node.kill()
    with proxy.connect() as one:
        began = time.monotonic()
        assert subscribe(one, "SUBSCRIBE", "c") == [[b"subscribe", b"c", 1]]
        assert time.monotonic() - began < 2 * SLOWNESS
        assert proxy.counter("subscriptions_unfed") == 1
        for node in nodes:
            node.start_again()
        with proxy.connect() as teller:
            resp.eventually(lambda: teller.ask("PUBLISH", "c", "x") == 1, within=10 * SLOWNESS, what="it is fed")
        assert message(one) == [b"message", b"c", b"x"]


def test_a_node_is_killed_and_comes_back(start):
    """Its channels are heard from another node meanwhile, and from it afterwards; nothing comes twice."""
    nodes = start.nodes(3)
    proxy = start.proxy(nodes, settings())
    channels = [f"c{i}" for i in range(30)]
    with proxy.connect() as one, proxy.connect() as pattern, proxy.connect() as teller:
        subscribe(one, "SUBSCRIBE", *channels)
        subscribe(pattern, "PSUBSCRIBE", "*")
        count = 0

        def all_heard():
            nonlocal count
            heard = {}
            for name in channels:
                heard[name] = teller.ask("PUBLISH", name, count)
                count += 1
            return all(n == 2 for n in heard.values())

        assert all_heard()
        nodes[0].kill()
        resp.eventually(all_heard, within=10 * SLOWNESS, what="other nodes have taken over")
        nodes[0].start_again()
        cluster.wait_for_members(proxy, *nodes)
        resp.eventually(all_heard, within=10 * SLOWNESS, what="it is back")
        time.sleep(0.2)
        teller.ask("PUBLISH", channels[0], "end")
        for connection in (one, pattern):
            got = []
            while (text := message(connection)[-1]) != b"end":
                got.append(int(text))
            assert len(got) == len(set(got))
            assert set(got) >= set(range(30)) | set(range(count - 30, count))


def test_a_node_is_added_and_taken_away_and_no_message_is_lost(start, dns):
    """Owners change while everybody talks: each message comes exactly once."""
    nodes = start.nodes_of_a_name(3)
    dns.set(redis=[node.host for node in nodes[:2]])
    source = f"redis.test:{nodes[0].port}"
    timeouts = {**cluster.BACKOFF, "feed": "2s", "request": "500ms"}
    proxy = start.proxy([], {**cluster.by_dns(dns.port, dns=[source]), "timeouts": timeouts})
    cluster.wait_for_members(proxy, *nodes[:2])
    channels = [f"c{i}" for i in range(50)]
    sent, stop = [0], threading.Event()

    def talk():
        with proxy.connect() as teller:
            while not stop.is_set():
                assert teller.ask("PUBLISH", channels[sent[0] % 50], sent[0]) >= 2
                sent[0] += 1

    with proxy.connect() as one, proxy.connect() as pattern:
        subscribe(one, "SUBSCRIBE", *channels)
        subscribe(pattern, "PSUBSCRIBE", "c*")
        got = {one: [], pattern: []}

        def listen(connection):
            while (text := message(connection)[-1]) != b"end":
                got[connection].append(int(text))

        threads = [threading.Thread(target=listen, args=(c,)) for c in (one, pattern)] + [threading.Thread(target=talk)]
        for thread in threads:
            thread.start()
        try:
            for names in (nodes, nodes[:2]):
                time.sleep(0.3)
                dns.set(redis=[node.host for node in names])
                cluster.wait_for_members(proxy, *names)
                time.sleep(1.5)  # longer than publishing goes on by the old ring
        finally:
            stop.set()
            threads[-1].join()
            with proxy.connect() as teller:
                teller.ask("PUBLISH", channels[0], "end")
            for thread in threads[:2]:
                thread.join()
        assert sent[0] > 100
        for numbers in got.values():
            assert sorted(numbers) == list(range(sent[0]))
    assert proxy.counter("subscriptions_moved") > 0


def test_a_frozen_node_is_found_out(start):
    """A feed on which nothing comes is asked; a peer that is silent then is left."""
    node = start.node()
    proxy = start.proxy([node], settings())
    with proxy.connect() as one:
        subscribe(one, "SUBSCRIBE", "c")
        node.freeze()
        resp.eventually(lambda: proxy.counter("feeds_failed") >= 1, within=10 * SLOWNESS, what="the feed is closed")
        node.thaw()
        with proxy.connect() as teller:
            # The node may still count the feed that was left.
            resp.eventually(lambda: teller.ask("PUBLISH", "c", "x") == 1 and not one.is_quiet(), within=10 * SLOWNESS,
                            every=0.05, what="it is fed")
        assert message(one) == [b"message", b"c", b"x"]


def test_a_node_that_refuses_says_why(start):
    node = start.node()
    with node.connect() as direct:
        assert direct.ask("ACL", "SETUSER", "default", "resetchannels", "&open") == "OK"
    proxy = start.proxy([node], settings())
    with proxy.connect() as one, proxy.connect() as teller:
        assert str(one.ask("SUBSCRIBE", "secret")).startswith("NOPERM")
        assert one.ask("GET", "k") is None  # it is no subscriber
        assert subscribe(one, "SUBSCRIBE", "open") == [[b"subscribe", b"open", 1]]
        assert teller.ask("PUBLISH", "open", "x") == 1
        assert message(one) == [b"message", b"open", b"x"]
    assert proxy.counter("feeds_refused") == 1
