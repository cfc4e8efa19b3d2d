# SPDX-License-Identifier: Apache-2.0
"""What the README shows has to work as it stands there."""
import re
import subprocess

import pytest

from processes import BINARY, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.proxy_only
def test_the_production_example_is_a_valid_configuration(tmp_path):
    examples = re.findall(r"```yaml\n(.*?)```", README, re.S)
    assert len(examples) == 1
    path = tmp_path / "sumcache.yaml"
    path.write_text(examples[0], encoding="utf-8")
    command = [BINARY, "--config", path, "--check-config"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.proxy_only
def test_each_option_that_is_shown_is_in_help():
    text = subprocess.run([BINARY, "--help"], capture_output=True, text=True, timeout=10).stdout
    shown = set(re.findall(r"(--[a-z][a-z-]+)", README))
    assert shown
    assert {option for option in shown if option not in text} == set()


def test_each_verb_that_is_shown_is_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^([a-z]+):", makefile, re.M))
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))):
        shown = set(re.findall(r"(?:`|^)make ([a-z]+)", path.read_text(encoding="utf-8"), re.M))
        assert shown <= verbs, path


OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_each_log_event_is_documented():
    events = set()
    for path in sorted((ROOT / "src").glob("*/*.c")):
        source = path.read_text(encoding="utf-8")
        events |= set(re.findall(r'log_event\([^"]*?"([a-z-]+)"', source))
    assert len(events) > 15
    assert {event for event in events if f"`{event}`" not in OPERATIONS} == set()


def gen_config_doc(option):
    command = ["/usr/bin/python3", ROOT / "tools" / "gen_config_doc.py", "--build", BINARY.parent, option]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def test_the_tables_of_settings_and_counters_are_those_of_the_program():
    result = gen_config_doc("--check")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_document_of_commands_is_that_of_the_table():
    command = ["/usr/bin/python3", ROOT / "tools" / "gen_command_docs.py", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.proxy_only
def test_the_table_of_counters_is_complete(proxy):
    counters = set(re.findall(r"^\| `(\w+)` \| (?:counter|gauge) \|", gen_config_doc("--print").stdout, re.M))
    not_counters = {"workers", "view_version", "nodes", "nodes_summed", "nodes_summed_age_ms"}
    assert set(proxy.counters()) - not_counters == counters
