# SPDX-License-Identifier: Apache-2.0
"""TLS on listeners and to nodes: who is let in, who stays out and why, and that all else goes on as without it."""
import select
import shutil
import socket
import ssl
import subprocess
import time

import pytest

import processes
import resp
from certificates import Authority
from cluster import keys_of
from resp import encode, eventually

pytestmark = pytest.mark.proxy_only

PATIENT = {"request": "10s", "stall": "10s", "connect": "5s"}


class Files:
    """All the certificates that the tests need."""

    def __init__(self, directory):
        self.ca, self.other_ca = Authority(directory), Authority(directory, "other")
        self.server = self.ca.issue("server")
        self.client = self.ca.issue("client")
        self.named = self.ca.issue("named", alt="DNS:cache.example")
        self.expired = self.ca.issue("expired", days=-1)
        self.foreign = self.other_ca.issue("foreign")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("certificates"))


class Secure(resp.Connection):
    """A client that speaks TLS. `first`: bytes that go before that."""

    def __init__(self, port, files, certificate=None, ca=None, version=None, first=b"", **options):
        super().__init__(port, **options)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations((ca or files.ca).file)
        if certificate:
            context.load_cert_chain(*certificate)
        if version:
            context.minimum_version = context.maximum_version = version
        try:
            self.socket.sendall(first)
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        except BaseException:
            self.socket.close()
            raise


@pytest.fixture
def secure(start, nodes, files):
    """A proxy with a plain port (proxy.port) and one with TLS (proxy.secure)."""
    def make(tls=None, workers=2, over=nodes, **settings):
        port, port_tls = processes.free_port(), processes.free_port()
        merged = {"listen": [f"127.0.0.1:{port}", f"127.0.0.1:{port_tls} tls"],
                  "tls": {"certificate_file": files.server[0], "key_file": files.server[1], **(tls or {})},
                  "timeouts": PATIENT, **settings}
        proxy = start.proxy(over, merged, port=port, workers=workers)
        proxy.secure = port_tls
        eventually(lambda: proxy.events("ready"), what="it listens for TLS too")
        return proxy
    return make


def is_refused(connect):
    """No handshake, or the end right behind it: in TLS 1.3 a client has done its part before it is judged."""
    try:
        with connect() as client:
            client.ask("PING")
    except (ssl.SSLError, ConnectionError, resp.Closed):
        return True
    return False


# ---- clients ----


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_is_served_as_without_tls(secure, files, version):
    proxy = secure()
    with Secure(proxy.secure, files, version=version) as client:
        assert client.ask("PING") == "PONG"
        assert client.ask("SET", "k", "v") == "OK"
        client.send(b"".join(encode("SET", f"k{i}", f"v{i}") + encode("GET", f"k{i}") for i in range(500)))
        assert [r.value for r in client.replies(1000)] == [x for i in range(500) for x in ("OK", b"v%d" % i)]
        counters = processes.counters_of(client.ask("INFO"))
        assert counters["tls_connections"] == 1 and counters["tls_handshakes"] >= 1
    assert proxy.ask("GET", "k") == b"v"
    eventually(lambda: proxy.counter("tls_connections") == 0)
    assert f"listening address=127.0.0.1:{proxy.secure} tls=on" in proxy.log()
    assert proxy.end() == 0


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 70000, 5 << 20, 40 << 20])
def test_values_of_any_length_go_both_ways(secure, files, size):
    proxy = secure()
    value = bytes(range(251)) * (size // 251 + 1)
    value = value[:size]
    with Secure(proxy.secure, files) as client:
        assert client.ask("SET", "long", value) == "OK"
        assert client.ask("GET", "long") == value
        client.send(encode("GET", "long") * 3 + encode("PING"))
        replies = client.replies(4)
        assert all(r.value == value for r in replies[:3]) and replies[3].value == "PONG"
    assert proxy.ask("GET", "long") == value


def test_who_reads_late_gets_all_of_it(secure, files):
    proxy = secure(timeouts={**PATIENT, "client_stall": "30s"}, limits={"client_min_rate": 0})
    value = b"0123456789abcdef" * (1 << 19)
    with Secure(proxy.secure, files, rcvbuf=8192) as client, Secure(proxy.secure, files) as other:
        assert other.ask("SET", "long", value) == "OK"
        client.send(encode("GET", "long") * 3)
        time.sleep(0.5)
        for _ in range(100):
            assert other.ask("PING") == "PONG"
        assert [r.value == value for r in client.replies(3)] == [True] * 3
    eventually(lambda: proxy.counter("buffer_bytes") < 1 << 20)


def test_subscribers_and_blocked_clients(secure, files, key):
    proxy = secure()
    with Secure(proxy.secure, files) as one, Secure(proxy.secure, files) as two:
        one.send(encode("SUBSCRIBE", "news"))
        assert one.reply().value[0] == b"subscribe"
        eventually(lambda: two.ask("PUBLISH", "news", "x" * 100000) == 1)
        assert one.reply().value == [b"message", b"news", b"x" * 100000]
        two.send(encode("BLPOP", key(), 5))
        assert proxy.ask("RPUSH", key(), "a") == 1
        assert two.reply().value == [key().encode(), b"a"]


def test_redis_cli(secure, files):
    proxy = secure()
    command = ["redis-cli", "-p", str(proxy.secure), "--tls", "--cacert", str(files.ca.file)]
    done = subprocess.run(command + ["SET", "a", "b"], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "OK\n", done.stderr
    assert proxy.ask("GET", "a") == b"b"


class OpenSsl:
    """`openssl s_client`, which can do what libraries do not."""

    def __init__(self, proxy, files, *options):
        self.popen = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.secure}", "-CAfile", files.ca.file, "-verify_return_error",
             *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if "-quiet" in options else subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.popen.kill()
        self.popen.communicate()

    def say(self, data):
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def hear(self, until):
        """What it prints up to that."""
        heard = b""
        while until not in heard:
            assert select.select([self.popen.stdout], [], [], 10 * processes.SLOWNESS)[0], heard[-1000:]
            more = self.popen.stdout.read1(65536)
            assert more, heard[-1000:]
            heard += more
        return heard


def test_records_may_have_to_be_short(secure, files):
    """A client without much memory asks for that."""
    proxy = secure()
    value = bytes(97 + i % 26 for i in range(300000))
    assert proxy.ask("SET", "long", value) == "OK"
    with OpenSsl(proxy, files, "-quiet", "-maxfraglen", "512") as client:
        client.say(encode("GET", "long") * 3 + encode("ECHO", "end"))
        assert client.hear(b"end\r\n") == b"$300000\r\n%s\r\n" % value * 3 + b"$3\r\nend\r\n"
        client.say(encode("SET", "other", value) + encode("ECHO", "last"))
        assert client.hear(b"last\r\n") == b"+OK\r\n$4\r\nlast\r\n"
    assert proxy.ask("GET", "other") == value


@pytest.mark.parametrize("command", [b"K\n", b"k\n"])
def test_keys_may_be_changed(secure, files, command):
    """TLS 1.3: by a client for itself, or for both sides."""
    proxy = secure()
    with OpenSsl(proxy, files, "-tls1_3") as client:
        for i in range(20):
            client.say(command)
            client.hear(b"KEYUPDATE\n")
            client.say(b"ECHO word%d\n" % i)
            client.hear(b"word%d\r\n" % i)


def test_nobody_begins_anew(secure, files):
    """TLS 1.2 had renegotiation. A client that asks for it is told no, or closed; others do not notice."""
    proxy = secure()
    with OpenSsl(proxy, files, "-tls1_2") as client, Secure(proxy.secure, files) as other:
        client.say(b"ECHO first\n")
        client.hear(b"first\r\n")
        client.say(b"R\n")
        assert client.popen.wait(10) != 0
        assert other.ask("PING") == "PONG"
    assert proxy.counter("tls_handshakes") == 2


def test_a_client_that_goes_in_the_middle_of_a_value(secure, files):
    proxy = secure()
    value = b"x" * (20 << 20)
    assert proxy.ask("SET", "long", value) == "OK"
    for end in ("close", "reset", "half"):
        with Secure(proxy.secure, files) as reader, Secure(proxy.secure, files) as writer:
            reader.send(encode("GET", "long"))
            reader._exactly(1 << 20)
            writer.send(encode("SET", "never", value)[:10 << 20])
            if end == "half":  # without a farewell
                for client in (reader, writer):
                    client.socket = socket.socket(fileno=client.socket.detach())
                    client.half_close()
            else:
                getattr(reader, end)()
                getattr(writer, end)()
            eventually(lambda: proxy.counter("clients") == 1, within=10)
        with Secure(proxy.secure, files) as client:
            assert client.ask("EXISTS", "never") == 0
            assert client.ask("GET", "long") == value
    eventually(lambda: proxy.counter("tls_connections") == 0)


def test_a_hello_may_come_in_bits(secure, files):
    """Through a pipe in memory, whose bytes are sent one by one."""
    proxy = secure()
    context = ssl.create_default_context(cafile=files.ca.file)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with proxy.connect() as raw, socket.create_connection(("127.0.0.1", proxy.secure), timeout=10) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert raw.ask("PING") == "PONG"

        def run(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    data = outgoing.read()
                    for i in range(len(data)):
                        plain.sendall(data[i:i + 1])
                    incoming.write(plain.recv(65536))

        run(session.do_handshake)
        session.write(encode("PING"))
        assert run(lambda: session.read(100)) == b"+PONG\r\n"


def test_a_client_that_trusts_another_ca_goes(secure, files):
    proxy = secure()
    with pytest.raises(ssl.SSLCertVerificationError):
        Secure(proxy.secure, files, ca=files.other_ca)
    eventually(lambda: proxy.counter("tls_handshakes_failed") == 1)
    eventually(lambda: "unknown ca" in "".join(proxy.events("tls-handshake-failed")))


@pytest.mark.parametrize("data", [encode("PING"), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"\0" * 100])
def test_what_is_no_tls_ends_the_connection(secure, files, data):
    proxy = secure()
    with resp.Connection(proxy.secure) as client:
        client.send(data)
        assert b"PONG" not in client.rest()
    with Secure(proxy.secure, files) as client:
        assert client.ask("PING") == "PONG"
    eventually(lambda: proxy.counter("tls_handshakes_failed") == 1)


def test_the_version_has_a_floor(secure, files):
    proxy = secure({"min_version": "1.3"})
    assert is_refused(lambda: Secure(proxy.secure, files, version=ssl.TLSVersion.TLSv1_2))
    with Secure(proxy.secure, files, version=ssl.TLSVersion.TLSv1_3) as client:
        assert client.ask("PING") == "PONG"


def test_a_reload_reads_certificates_anew(secure, files, tmp_path):
    """Who is connected stays so; who comes next sees the new one; a bad file changes nothing."""
    pair = tmp_path / "now.crt", tmp_path / "now.key"

    def place(certificate):
        for source, target in zip(certificate, pair):
            shutil.copy(source, target)

    def reload():
        return processes.run("reload", "--pid", proxy.pid)

    place(files.server)
    proxy = secure({"certificate_file": pair[0], "key_file": pair[1]})
    with Secure(proxy.secure, files) as before:
        assert before.ask("SET", "key", "1") == "OK"
        place(files.foreign)
        assert reload().returncode == 0
        assert before.ask("GET", "key") == b"1"
        assert is_refused(lambda: Secure(proxy.secure, files))
        with Secure(proxy.secure, files, ca=files.other_ca) as after:
            assert after.ask("GET", "key") == b"1"
        pair[0].write_text("no certificate")
        failed = reload()
        assert failed.returncode == 1 and f"tls: the certificate {pair[0]}: " in failed.stderr, failed
        with Secure(proxy.secure, files, ca=files.other_ca) as after:
            assert after.ask("GET", "key") == b"1"
        assert before.ask("GET", "key") == b"1"


def test_certificates_of_clients(secure, files):
    required = secure({"client_certificates": "required", "ca_file": files.ca.file})
    optional = secure({"client_certificates": "optional", "ca_file": files.ca.file})
    for proxy, without in ((required, False), (optional, True)):
        with Secure(proxy.secure, files, files.client) as client:
            assert client.ask("PING") == "PONG"
        for bad in (files.foreign, files.expired):
            assert is_refused(lambda bad=bad, proxy=proxy: Secure(proxy.secure, files, bad))
        assert is_refused(lambda proxy=proxy: Secure(proxy.secure, files)) != without
        eventually(lambda proxy=proxy: "certificate has expired" in "".join(proxy.events("tls-handshake-failed")))


def test_a_stalled_handshake_is_not_waited_for(secure, files):
    proxy = secure(workers=1, timeouts={**PATIENT, "connect": "300ms"}, limits={"tls_handshakes": 2})
    with resp.Connection(proxy.secure) as silent, resp.Connection(proxy.secure) as begun:
        begun.send(b"\x16\x03\x01\x02\x00\x01\x00")
        eventually(lambda: proxy.counter("clients") == 3)
        with resp.Connection(proxy.secure) as third:
            assert third.rest(timeout=2) == b""
        assert proxy.counter("tls_handshakes_refused") == 1
        assert silent.rest(timeout=5) == begun.rest(timeout=5) == b""
    eventually(lambda: proxy.counter("tls_handshakes_failed") == 2)
    with Secure(proxy.secure, files) as client:
        time.sleep(0.5)  # a handshake that is done is not late
        assert client.ask("PING") == "PONG"


def test_a_header_of_a_balancer_comes_before_the_handshake(secure, files):
    proxy = secure(proxy_protocol={"from": ["127.0.0.0/8"]})
    header = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 6379\r\n"
    with Secure(proxy.secure, files, first=header) as client:
        assert b" addr=192.0.2.7:4711 " in client.ask("CLIENT", "INFO")


def test_many_come_and_go(secure, files):
    proxy = secure()
    for i in range(30):
        client = Secure(proxy.secure, files)
        if i % 3 == 0:
            client.send(encode("GET", "x") * 50)
        if i % 2:
            client.reset()
        else:
            client.close()
    eventually(lambda: proxy.counter("tls_connections") == 0)
    eventually(lambda: proxy.counter("clients") == 1)
    assert proxy.end() == 0


# ---- nodes ----


def node_of(start, files, certificate, *extra):
    port = processes.free_port()
    return start.node(port=port, extra=["--port", "0", "--tls-port", port, "--tls-cert-file", certificate[0], "--tls-key-file",
                                        certificate[1], "--tls-ca-cert-file", files.ca.file, "--tls-auth-clients", "no", *extra])


def over(start, files, nodes, tls=None, **settings):
    return start.proxy(nodes, {"nodes_tls": {"enabled": "on", "ca_file": files.ca.file, **(tls or {})}, "timeouts": PATIENT,
                               "health": {"interval": "100ms", "interval_out": "100ms", "timeout": "5s"}, **settings})


def test_nodes_are_spoken_to_by_tls(start, files):
    nodes = [node_of(start, files, files.server) for _ in range(2)]
    proxy = over(start, files, nodes)
    eventually(lambda: all(proxy.state_of(node) == "up" for node in nodes))
    with proxy.connect() as client, proxy.connect(protocol=3) as third:
        client.send(b"".join(encode("SET", f"k{i}", f"v{i}") for i in range(300)))
        assert all(r.value == "OK" for r in client.replies(300))
        assert [third.ask("GET", f"k{i}") for i in range(300)] == [b"v%d" % i for i in range(300)]
        for size in (16384, 300000, 20 << 20):
            value = b"x" * size
            assert client.ask("SET", "long", value) == "OK"
            assert client.ask("GET", "long") == value
        client.send(encode("SUBSCRIBE", "news"))
        assert client.reply().value[0] == b"subscribe"
        eventually(lambda: third.ask("PUBLISH", "news", "x" * 100000) == 1)
        assert client.reply().value[2] == b"x" * 100000
        counters = processes.counters_of(third.ask("INFO"))
        assert counters["tls_connections"] >= 4 and counters["tls_handshakes_failed"] == 0


def drip(client, count, each=20000):
    """Reads so many bytes slowly, as a link would that is a thousand times slower than the others."""
    data = bytearray()
    while len(data) < count:
        data += client._exactly(min(each, count - len(data)))
        time.sleep(0.002)
    return bytes(data)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_long_values_by_tls_on_both_sides_and_slow_readers(secure, start, files, version):
    """A client that reads in drips, a node that stands still in the middle of being written to: all is as it was sent,
    others are served meanwhile, and nothing stays in memory."""
    node = node_of(start, files, files.server)
    proxy = secure(over=[node], workers=1, nodes_tls={"enabled": "on", "ca_file": files.ca.file},
                   timeouts={**PATIENT, "client_stall": "10s"}, limits={"client_min_rate": 0})
    value = bytes(range(251)) * ((5 << 20) // 251)
    with Secure(proxy.secure, files, version=version, rcvbuf=8192) as slow, Secure(proxy.secure, files) as other, \
            Secure(proxy.secure, files, version=version) as writer:
        assert other.ask("SET", "long", value) == "OK"
        slow.send(encode("GET", "long") * 2 + encode("PING"))
        line = b"$%d\r\n" % len(value)
        assert drip(slow, len(line) + 1000000) == line + value[:1000000]
        assert other.ask("GET", "long") == value
        node.freeze()
        request = encode("SET", "other", value)
        writer.send(request[:3 << 20])
        time.sleep(0.3)
        node.thaw()
        writer.send(request[3 << 20:])
        assert writer.reply().value == "OK"
        assert drip(slow, len(value) - 1000000 + 2) == value[1000000:] + b"\r\n"
        assert slow.reply().value == value and slow.reply().value == "PONG"
        assert other.ask("GET", "other") == value
    eventually(lambda: proxy.counter("buffer_bytes") < 1 << 20)
    eventually(lambda: proxy.counter("tls_connections") <= 6)


def test_a_node_that_goes_and_comes_back(start, files):
    nodes = [node_of(start, files, files.server) for _ in range(2)]
    proxy = over(start, files, nodes)
    eventually(lambda: all(proxy.state_of(node) == "up" for node in nodes))
    nodes[0].kill()
    eventually(lambda: proxy.state_of(nodes[0]) == "out")
    nodes[0].start_again()
    eventually(lambda: proxy.state_of(nodes[0]) == "up", within=20)
    with proxy.connect() as client:
        for i in range(50):
            assert client.ask("SET", f"k{i}", i) == "OK"


@pytest.mark.parametrize("how", ["kill", "freeze"])
@pytest.mark.parametrize("size", [100, 40 << 20])
def test_a_node_that_ends_in_the_middle(start, files, how, size):
    """Of a value, or among many short ones: what was not whole is told to be so, and the rest goes on."""
    nodes = [node_of(start, files, files.server) for _ in range(2)]
    proxy = over(start, files, nodes, timeouts={"request": "500ms", "stall": "500ms", "connect": "2s"},
                 health={"interval": "100ms", "interval_out": "100ms", "timeout": "1s"})
    eventually(lambda: all(proxy.state_of(node) == "up" for node in nodes))
    victim, other = nodes
    ours, theirs = keys_of(nodes, victim, 1)[0], keys_of(nodes, other, 1)[0]
    value = b"x" * size
    with proxy.connect(rcvbuf=16384) as client, proxy.connect() as second:
        assert second.ask("SET", ours, value) == "OK"
        client.send(encode("GET", ours) * (1 if size > 1000 else 1000))
        if size > 1000:
            client._exactly(100000)  # it is on its way
        else:
            client.replies(1)
        getattr(victim, how)()
        if size > 1000:
            assert len(client.rest(timeout=20)) < size - 100000  # what has begun can only be cut off
        else:
            values = [reply.value for reply in client.replies(999)]
            assert all(v in (value, None) or isinstance(v, resp.Error) for v in values)
        assert second.ask("SET", theirs, value) == "OK"
        assert second.ask("GET", theirs) == value
        eventually(lambda: proxy.state_of(victim) == "out", within=20)
        eventually(lambda: second.ask("SET", ours, "new") == "OK")  # its slots are moved in steps
    if how == "kill":
        victim.start_again()
    else:
        victim.thaw()
    eventually(lambda: proxy.state_of(victim) == "up", within=20)
    assert proxy.ask("GET", ours) in (b"new", None)


@pytest.mark.parametrize("which, why", [("named", "mismatch"), ("foreign", "local issuer certificate"), ("expired", "expired")])
def test_a_node_that_is_not_what_it_should_be_stays_out(start, files, which, why):
    good, bad = node_of(start, files, files.server), node_of(start, files, getattr(files, which))
    proxy = over(start, files, [good, bad])
    eventually(lambda: proxy.state_of(bad) == "out")
    line = proxy.node_lines()[bad.name]
    assert "TLS: certificate" in line["reason"] and why in line["reason"], line
    eventually(lambda: proxy.state_of(good) == "up")
    with proxy.connect() as client:  # the bad one's slots are moved in steps
        eventually(lambda: all(client.ask("SET", f"k{i}", i) == "OK" for i in range(50)))


def test_a_node_without_tls_stays_out(start, files):
    """It takes a hello for the beginning of a line, and waits for its end."""
    plain, good = start.node(), node_of(start, files, files.server)
    proxy = over(start, files, [plain, good], timeouts={**PATIENT, "connect": "300ms"},
                 health={"interval": "100ms", "interval_out": "100ms", "timeout": "300ms"})
    eventually(lambda: proxy.state_of(plain) == "out")
    assert proxy.node_lines()[plain.name]["reason"] == "TLS: no handshake in time"
    eventually(lambda: proxy.state_of(good) == "up")


@pytest.mark.parametrize("tls", [{"server_name": "cache.example"}, {"verify": "ca"}])
def test_one_name_for_all_nodes_or_none(start, files, tls):
    node = node_of(start, files, files.named)
    proxy = over(start, files, [node], tls)
    eventually(lambda: proxy.state_of(node) == "up")
    assert proxy.ask("SET", "k", "v") == "OK"


def test_nodes_that_want_our_certificate(start, files):
    node = node_of(start, files, files.server, "--tls-auth-clients", "yes")
    without = over(start, files, [node])
    proxy = over(start, files, [node], {"certificate_file": files.client[0], "key_file": files.client[1]})
    eventually(lambda: proxy.state_of(node) == "up")
    assert proxy.ask("SET", "k", "v") == "OK"
    eventually(lambda: without.state_of(node) == "out")


def test_the_name_of_a_node_is_asked_for(start, files):
    """By a server of our own, which says what it heard."""
    heard = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files.server)
    context.sni_callback = lambda session, name, _: heard.append(name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        over(start, files, [f"localhost:{server.getsockname()[1]}"])
        session, _ = server.accept()
        try:
            context.wrap_socket(session, server_side=True).close()
        except OSError:
            session.close()
    assert heard == ["localhost"]


# ---- settings ----


@pytest.mark.parametrize("tls, why", [
    ({"certificate_file": "/nonexistent.crt"}, "tls: the certificate /nonexistent.crt: No such file or directory"),
    ({"key_file": "/nonexistent.key"}, "tls: the key /nonexistent.key: No such file or directory"),
    ({"client_certificates": "required", "ca_file": "/nonexistent.ca"}, "tls: the CA /nonexistent.ca: No such file or directory"),
    ({"client_certificates": "required"}, "tls.client_certificates: needs the tls.ca_file"),
    ({"key_file": "CLIENT"}, "key values mismatch"),
    ({"certificate_file": "KEY"}, "no start line"),
])
def test_bad_files_fail_at_the_start(tmp_path, files, tls, why):
    names = {"CLIENT": files.client[1], "KEY": files.server[1]}
    tls = {key: names.get(value, value) for key, value in tls.items()}
    config = tmp_path / "config.yaml"
    config.write_text(processes.to_yaml({
        "listen": [f"127.0.0.1:{processes.free_port()} tls"], "nodes": {"static": ["127.0.0.1:1"]},
        "tls": {"certificate_file": files.server[0], "key_file": files.server[1], **tls}}))
    done = processes.run("--config", config)
    assert done.returncode != 0 and why in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("settings, why", [
    ({"listen": ["7001 tls"]}, "listen: tls needs a tls.certificate_file"),
    ({"tls": {"certificate_file": "/x"}}, "tls.certificate_file: no place of listen says tls"),
    ({"nodes_tls": {"ca_file": "/x"}}, "nodes_tls: expected enabled: on"),
    ({"listen": ["0.0.0.0:7001 tls"], "tls": {"certificate_file": "/x"}}, "no password is asked for"),
])
def test_settings_that_do_not_fit(tmp_path, settings, why):
    config = tmp_path / "config.yaml"
    config.write_text(processes.to_yaml({"nodes": {"static": ["127.0.0.1:1"]}, **settings}))
    done = processes.run("--config", config)
    assert done.returncode != 0 and why in done.stderr, done.stderr
