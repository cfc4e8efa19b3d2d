# SPDX-License-Identifier: Apache-2.0
"""Every command of the table, answered as a real server answers it.

Each row has a story in surface/*.txt (its language: surface.py), or stands in REFUSED, or is a
container. A new row without one fails. The servers are those of REDIS_SERVERS, divided by spaces or
colons, and the installed redis-server always. Each story is told in RESP2 and RESP3, to a proxy over one
node and to one over three, where the keys of a story share a hash tag. What no server here knows is
skipped and so listed: it is not tested, and does not count as passed.
"""
import os
import re
import shutil

import pytest

import processes
import resp
import surface

# Never sent on, whoever asks: the operator's business, Redis Cluster's, or replication's.
REFUSED = """
acl|cat acl|deluser acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|load acl|log acl|save acl|setuser
acl|users acl|whoami asking bgrewriteaof bgsave client|import-source cluster|addslots cluster|addslotsrange
cluster|bumpepoch cluster|count-failure-reports cluster|countkeysinslot cluster|delslots cluster|delslotsrange
cluster|failover cluster|flushslots cluster|forget cluster|getkeysinslot cluster|help cluster|info cluster|keyslot
cluster|links cluster|meet cluster|myid cluster|myshardid cluster|nodes cluster|replicas cluster|replicate
cluster|reset cluster|saveconfig cluster|set-config-epoch cluster|setslot cluster|shards cluster|slaves
cluster|slot-stats cluster|slots commandlog|get commandlog|help commandlog|len commandlog|reset config|help
config|rewrite debug failover function|help lastsave latency|help memory|help module|help module|list module|load
module|loadex module|unload monitor object|help pfdebug pfselftest psync pubsub|help replconf replicaof restore-asking
role save script|help script|show sflush shutdown slaveof slowlog|help swapdb sync waitaof xgroup|help xinfo|help
""".split()

# Stories of what a node without a function, or with the eviction policy of a cache, or that runs no script, only says no to.
ONLY_ERRORS = ["object|freq", "fcall", "fcall_ro", "script|kill", "function|kill", "latency|graph", "client|caching"]

# What the proxies need to be told so that nothing is refused that could be given.
SETTINGS = {"databases": 16, "timeouts": {"request": "10s", "stall": "10s"}}

STORIES = surface.stories()
ROWS = surface.rows()
ARITIES = {name: row.arity for name, row in ROWS.items()}
CONTAINERS = sorted(name for name, row in ROWS.items() if row.is_container and name not in STORIES)


def servers():
    """The binaries to compare with, each once."""
    names = ["redis-server", *re.split(r"[:\s]+", os.environ.get("REDIS_SERVERS", ""))]
    paths = {name: shutil.which(name) for name in names if name}
    missing = [name for name, path in paths.items() if not path]
    assert not missing, f"REDIS_SERVERS names what is not there: {missing}"
    # Not the real path: redis-server is a link, and what it does depends on its name.
    return list({os.path.realpath(path): path for path in paths.values()}.values())


def names_of(info):
    """Of COMMAND's answer."""
    for name, *_, subcommands in info:
        yield name.decode().lower()
        yield from names_of(subcommands)


class Server:
    """A kind of redis-server: one of it alone, and proxies over one and over three of it."""

    def __init__(self, binary, starter):
        def nodes(count):
            return starter.nodes(count, binary=binary)

        self.redis = nodes(1)[0]
        self.commands = set(names_of(self.redis.ask("COMMAND")))
        info = self.redis.ask("INFO", "server").decode()
        found = re.search(r"(valkey|redis)_version:(\S+)\r\n(?!redis_version)", info)
        self.name = " ".join(found.groups())
        self.proxies = {count: starter.proxy(nodes(count), SETTINGS) for count in (1, 3)}

    def tell(self, story, count, protocol, variant, name):
        """Raises surface.Difference if the proxy answers otherwise. → whether any answer was no error."""
        proxy = self.proxies[count]

        def key(word):
            return f"{{{name}}}:{word}" if count > 1 else f"{name}:{word}"

        for node in [self.redis, *proxy.nodes]:
            node.ask("FLUSHALL")
        for server in (self.redis, proxy):
            with server.connect() as connection:
                surface.fill(connection, variant, key)
        return surface.tell(story, surface.Side(self.redis.port, [self.redis], protocol, key),
                            surface.Side(proxy.port, proxy.nodes, protocol, key))

    def forget_code(self):
        """Functions and scripts outlive FLUSHALL."""
        for node in [self.redis, *self.proxies[1].nodes, *self.proxies[3].nodes]:
            node.ask("FUNCTION", "DELETE", "surface")  # Redis 7.4.1 dies of FUNCTION FLUSH now and then.
            node.ask("SCRIPT", "FLUSH")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, starter_of):
    with starter_of(tmp_path_factory.mktemp("kinds")) as starter:
        yield [Server(binary, starter) for binary in servers()]


def knowing(kinds, story):
    """Those that know the command; ours are known to the proxy."""
    ours = story.command.startswith("sumcache.") or all(line.place == "proxy" for line in story.lines)
    return [kind for kind in kinds if ours or story.command in kind.commands]


def variants_of(story):
    return ["filled"] if story.is_staged else ["filled", "missing", "wrong"]


@pytest.mark.proxy_only
def test_every_row_has_a_story():
    told = {story.command for story in STORIES.values()}
    rows = {name for name, row in ROWS.items() if not row.is_container}
    assert not rows - told - set(REFUSED), "no story in surface/*.txt"
    assert not set(REFUSED) - rows, "refused, but in no row"
    assert not told & set(REFUSED), "refused, and told all the same"
    assert told - rows == {"command"}, "told, and in no row"


def told(kinds, story, key):
    """Tells it everywhere. → whether Redis ever had an answer to it that is no error, and the differences."""
    did_something, found = False, []
    for kind in knowing(kinds, story):
        for count, protocol in ((1, 2), (1, 3), (3, 2), (3, 3)):
            for variant in variants_of(story):
                try:
                    did_something |= kind.tell(story, count, protocol, variant, key("n"))
                except surface.Difference as difference:
                    found.append(f"{kind.name}, {count} nodes, RESP{protocol}, keys {variant}: {difference}")
                if "|" in story.command or "call" in story.name or "eval" in story.name:
                    kind.forget_code()
    return did_something, found


@pytest.mark.parametrize("name", list(STORIES))
def test_command(kinds, key, name):
    story = STORIES[name]
    if not knowing(kinds, story):
        pytest.skip(f"machine: no server here knows {name}; have {', '.join(kind.name for kind in kinds)}")
    did_something, differences = told(kinds, story, key)
    assert not differences, "\n".join(differences)
    assert did_something or name in ONLY_ERRORS, "all that the servers say to it is errors"


@pytest.mark.proxy_only
@pytest.mark.parametrize("name", REFUSED)
def test_refused(kinds, name):
    """In words that begin with the command's name; and arity errors come first, as Redis has them."""
    proxy = kinds[0].proxies[3]
    arity = ARITIES[name]
    words = name.split("|")
    with proxy.connect() as client:
        for count in range(abs(arity), abs(arity) + (3 if arity < 0 else 1)):
            answer = client.ask(*words, *["1"] * (count - len(words)))
            assert isinstance(answer, resp.Error), answer
            assert re.match(rf"ERR sumcache: '{re.escape(name)}' |NOPERM .*'{re.escape(name)}' command \(sumcache: ", str(answer))
        assert client.ask("PING") == "PONG"


@pytest.mark.proxy_only
@pytest.mark.parametrize("name", CONTAINERS)
def test_container(kinds, name):
    """Without a subcommand, and with one that nobody knows."""
    differences = []
    for kind in kinds:
        if name not in kind.commands:
            continue
        with kind.redis.connect() as redis, kind.proxies[3].connect() as proxy:
            for words in ([], ["nosuch"], ["nosuch", "k"], [""], ["nosuch", "k", "v", "w"]):
                wanted, got = redis.ask_raw(name, *words), proxy.ask_raw(name, *words)
                if wanted != got:
                    differences.append(f"{kind.name}: {name} {words}: Redis {wanted}, proxy {got}")
    assert not differences, "\n".join(differences)


@pytest.mark.proxy_only
def test_a_wrong_answer_is_seen(kinds, key):
    """The stories see it when the two differ: told to two servers that hold different things."""
    kind = kinds[0]
    story = surface.Story("get")
    story.lines.append(surface.Line("get $s"))
    kind.tell(story, 1, 2, "filled", key())
    kind.proxies[1].nodes[0].ask("FLUSHALL")
    sides = [surface.Side(port, [], 2, key) for port in (kind.redis.port, kind.proxies[1].port)]
    kind.redis.ask("SET", key("s"), "x")
    with pytest.raises(surface.Difference):
        surface.tell(story, *sides)
