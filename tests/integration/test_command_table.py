# SPDX-License-Identifier: Apache-2.0
"""The command table against a real redis-server: see tools/check_command_table.py."""
import subprocess
import sys

import pytest

import processes

sys.path.insert(0, str(processes.ROOT / "tools"))

import check_command_table  # noqa: E402


@pytest.mark.parametrize("name", check_command_table.CHECKS)
def test_the_table_is_true_of_redis(start, name):
    problems = check_command_table.CHECKS[name](start.node().port)
    assert not problems, "\n".join(problems)


def test_the_checks_see_a_wrong_row(start, tmp_path, monkeypatch):
    """Each kind of lie about a command is found."""
    lies = {
        '"get", 2,': '"get", 3,',
        '"strlen", 2, FORWARD, RANGE, 1, 1, 1, ZERO': '"strlen", 2, FORWARD, RANGE, 1, 1, 1, NIL',
        '"lmpop", -4, FORWARD, NUM,': '"lmpop", -4, FORWARD, NUM_AT_2,',
        '"append", 3, FORWARD, RANGE, 1, 1, 1, NEVER, WRITE': '"append", 3, FORWARD, RANGE, 1, 1, 1, NEVER, READ',
        '"ttl"': '"ttk"',
        'MULTI_SHARD, AGG_MIN': 'MULTI_SHARD, AGG_MAX',
    }
    text = check_command_table.TABLE.read_text()
    port = start.node().port
    wrong = tmp_path / "command_table.h"
    monkeypatch.setattr(check_command_table, "TABLE", wrong)
    for truth, lie in lies.items():
        assert text.count(truth) == 1, truth
        wrong.write_text(text.replace(truth, lie))
        assert check_command_table.check_facts(port) or check_command_table.check_misses(port), lie


@pytest.mark.proxy_only
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_read_of_a_dead_node_is_the_miss_of_the_table(start, protocol):
    proxy = start.proxy([f"127.0.0.1:{processes.free_port()}"], {"timeouts": {"connect": "300ms"}})
    differences = []
    with proxy.connect(protocol=protocol) as client:
        for _, words, expected in check_command_table.misses(protocol):
            answer = client.ask_raw(*words)
            if answer != expected:
                differences.append(f"{' '.join(words)}: {answer!r}, expected {expected!r}")
    assert not differences, "\n".join(differences)


def test_the_slots_are_up_to_date():
    tool = processes.ROOT / "tools" / "gen_command_slots.py"
    subprocess.run([sys.executable, str(tool), "--check"], check=True)
