# SPDX-License-Identifier: Apache-2.0
"""The admin page in a real browser: headless Chromium, driven by page.mjs. Pictures of it are kept in
build/test-logs/page/."""
import http.client
import gzip
import os
import pathlib
import subprocess
import threading

import pytest

import processes
from processes import SLOWNESS
from resp import eventually

PAGE = pathlib.Path(__file__).parent
ROOT = PAGE.parent.parent
PICTURES = ROOT / "build" / "test-logs" / "page"
EVIL = ["<img src=x onerror=window.stolen=1>", "<script>window.stolen=1</script>", '"><b onclick="x">', "a\u202eb"]
ASSETS = ["/", "/page.css", "/page.js", "/chart.js", "/icon.svg"]


@pytest.fixture(scope="session")
def node_modules():
    modules, lock = PAGE / "node_modules" / ".package-lock.json", PAGE / "package-lock.json"
    if not modules.exists() or modules.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=PAGE, check=True,
                       timeout=180, capture_output=True)
        modules.touch()
    PICTURES.mkdir(parents=True, exist_ok=True)


def ask_on(proxy, stop):
    """Somebody who goes on asking for keys, some of it slow."""
    with proxy.connect() as client:
        for i in range(10000):
            for key in (f"user:{i % 50}", "popular", *EVIL):
                client.ask("SET" if i % 3 == 0 else "GET", key, *(["v" * 40] if i % 3 == 0 else []))
            if i % 20 == 0:
                for keys in (["l" * 1024], ["several:1", "several:1", "several:1"], *([key] for key in EVIL)):
                    client.ask("EVAL", "local n = 0; for i = 1, 1000000 do n = n + i end; return n", len(keys), *keys)
            if stop.wait(0.05):
                return


@pytest.fixture
def serve(start):
    """Starts three nodes and a proxy that is asked. → the page's port, the nodes"""
    stop, askers = threading.Event(), []

    def make(**admin):
        port, nodes = processes.free_port(), start.nodes(3, memory="64mb")
        proxy = start.proxy(nodes, {"admin": {"listen": port, "sample_each": 1, "slow_above": "5ms", **admin},
                                    "health": {"interval": "100ms"}})
        eventually(lambda: proxy.events("listening-admin"))
        askers.append(threading.Thread(target=ask_on, args=(proxy, stop), daemon=True))
        askers[-1].start()
        return port, nodes
    yield make
    stop.set()
    for asker in askers:
        asker.join(10 * SLOWNESS)
        assert not asker.is_alive()


@pytest.fixture
def shown(serve):
    return serve()


def browse(check, port, *arguments):
    return subprocess.Popen(["node", PAGE / "page.mjs", check, f"http://127.0.0.1:{port}/", PICTURES, *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ})


def finish(browser):
    try:
        said = browser.communicate(timeout=90 * SLOWNESS)[0]
    finally:
        browser.kill()
    assert browser.returncode == 0, said


@pytest.mark.parametrize("check", ["shows", "where", "survives", "slow", "themes", "narrow", "keyboard"])
def test_page(shown, node_modules, check):
    finish(browse(check, shown[0]))


def test_page_behind_a_token(serve, node_modules, tmp_path):
    (tmp_path / "token").write_text("only-the-browser-knows-this\n")
    finish(browse("token", serve(token_file=tmp_path / "token")[0], "only-the-browser-knows-this"))


PRINT_CHARTS = """
#include "admin/assets.h"
#include <stdio.h>
int main(void)
{
    const struct asset *a = asset_find(STR("/chart.js"));
    return a && fwrite(a->plain, 1, a->plain_len, stdout) == a->plain_len ? 0 : 1;
}
"""


@pytest.fixture
def placeholder(tmp_path):
    """What a build without Chart.js has in its place. Of that build only this is made: all of it would take
    minutes, and the rest is the same."""
    build = tmp_path / "build"
    subprocess.run(["meson", "setup", build, ROOT, "-Dchart_js=/nowhere/chart.js", "-Dtests=disabled", "-Dclient=disabled"],
                   check=True, timeout=120 * SLOWNESS, capture_output=True)
    subprocess.run(["ninja", "-C", build, "src/admin/page_assets.c"], check=True, timeout=60 * SLOWNESS, capture_output=True)
    (tmp_path / "print.c").write_text(PRINT_CHARTS)
    subprocess.run(["cc", "-D_GNU_SOURCE", f"-I{ROOT / 'src'}", "-o", tmp_path / "print", tmp_path / "print.c",
                    build / "src" / "admin" / "page_assets.c", ROOT / "src" / "admin" / "assets.c"],
                   check=True, timeout=60 * SLOWNESS, capture_output=True)
    return subprocess.run([tmp_path / "print"], check=True, timeout=10 * SLOWNESS, capture_output=True, text=True).stdout


def test_page_without_charts(shown, node_modules, placeholder):
    assert placeholder == "/* built without it */\n"
    finish(browse("chartless", shown[0], placeholder))


def test_page_follows_a_node_that_dies_and_returns(shown, node_modules):
    port, nodes = shown
    browser = browse("follows", port, nodes[1].name)
    said = ""
    for line in browser.stdout:
        said += line
        if line == "seen\n":
            nodes[1].kill()
        elif line == "out\n":
            nodes[1].start_again()
    browser.wait(10 * SLOWNESS)
    assert browser.returncode == 0, said


def fetch(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10 * SLOWNESS)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ASSETS)
def test_files_of_the_page(shown, path):
    port = shown[0]
    status, headers, plain = fetch(port, path)
    assert status == 200 and "Content-Encoding" not in headers
    assert headers["Cache-Control"] == "no-cache" and headers["Vary"] == "Accept-Encoding"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "data:" not in policy
    status, packed_headers, packed = fetch(port, path, Accept_Encoding="br, gzip;q=0.8")
    assert (status, packed_headers["Content-Encoding"], gzip.decompress(packed)) == (200, "gzip", plain)
    assert fetch(port, path, Accept_Encoding="gzip;q=0")[2] == plain
    assert fetch(port, path, If_None_Match=headers["ETag"])[::2] == (304, b"")
    assert fetch(port, path, If_None_Match='W/"other"')[0] == 200
