# SPDX-License-Identifier: Apache-2.0
"""The man pages, and the documents that name settings, counters and events."""
import re
import subprocess

import pytest

from processes import BINARY, ROOT, run

pytestmark = pytest.mark.proxy_only
PAGES = sorted((ROOT / "docs" / "man").iterdir())
DOCUMENTS = ["sizing", "faq", "runbook"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_finds_nothing(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, timeout=20,
                          check=False)
    assert (done.returncode, done.stdout) == (0, "")
    text = subprocess.run(["mandoc", "-T", "ascii", page], capture_output=True, text=True, timeout=20, check=True).stdout
    assert len(text.splitlines()) > 60


def test_the_page_of_settings_is_that_of_the_program():
    command = ["/usr/bin/python3", ROOT / "tools" / "gen_man.py", "--build", BINARY.parent, "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_page_of_the_program_has_all_its_options_and_commands():
    page = (ROOT / "docs" / "man" / "sumcache.1").read_text()
    text = run("--help").stdout
    options = set(re.findall(r"^  (--[a-z-]+)", text, re.M))
    assert len(options) > 8
    assert {option for option in options if f".It Fl \\{option[1:]}" not in page} == set()
    commands = set(re.findall(r"^       sumcache ([a-z]+) ", text, re.M))
    assert len(commands) >= 5
    assert {command for command in commands if f".It Cm {command}\n" not in page} == set()


def known_names():
    """Settings, and what stands in the tables of operations.md: counters, events, states."""
    operations = (ROOT / "docs" / "operations.md").read_text()
    names = set(re.findall(r"`([a-z_.-]+)`", operations))
    return names | set(re.findall(r"^\| `([a-z_.]+)`", operations, re.M))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_name_what_there_is(name):
    """Each word with a dot or an underscore is a setting, a counter or a field of INFO; each with a dash
    an event of the log, a setting of Redis or an advice."""
    text = (ROOT / "docs" / f"{name}.md").read_text()
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    words = set(re.findall(r"`([a-z]+(?:[_.-][a-z]+)+)`", text))
    redis = {"used_memory", "maxmemory", "keyspace_hits", "keyspace_misses", "evicted_keys", "maxmemory-policy",
             "client-output-buffer-limit", "host-memory", "hold_ms", "in_flight", "sumcache.yaml", "redis.conf"}
    assert words - known_names() - redis == set()


def test_each_alert_has_a_row_in_the_runbook():
    alerts = set(re.findall(r"alert: (\w+)", (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text()))
    text = (ROOT / "docs" / "runbook.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `Sumcache")]
    assert alerts and alerts == set(re.findall(r"`(Sumcache\w+)`", "\n".join(rows)))
    sections = set(re.findall(r"^## (.*)", text, re.M))
    assert set(re.findall(r"\*(.*?)\*", "\n".join(rows))) <= sections


@pytest.mark.parametrize("name", [*DOCUMENTS, "operations"])
def test_links_lead_somewhere(name):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (ROOT / "docs" / target).exists(), target
