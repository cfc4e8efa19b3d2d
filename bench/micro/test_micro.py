# SPDX-License-Identifier: Apache-2.0
"""run.py's judgement: what it reads back, and when it says that something has become dearer."""

import importlib.util
import os

import pytest

# By its path: bench/ has a run.py too.
SPEC = importlib.util.spec_from_file_location("micro_run", os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.py"))
run = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(run)


def cases_of(**instructions):
    return {name.replace("_", "-"): run.Case(name.replace("_", "-"), "what", figure, 2.0, 1.0)
            for name, figure in instructions.items()}


def test_what_is_saved_is_read_back():
    kept = cases_of(frame_get=282.04, ring_cold=None)
    text = run.results_text(kept.values(), "no-such-build")
    back = run.read_table(text)
    assert list(back) == ["frame-get", "ring-cold"]
    assert back["frame-get"].instructions == 282.0
    assert back["frame-get"].min_ns == 1.0
    assert back["ring-cold"].instructions is None


@pytest.mark.parametrize("before, now, word", [
    (1000.0, 1000.0, None),
    (1000.0, 1019.0, None),
    (1000.0, 1021.0, "WORSE "),
    (1000.0, 981.0, None),
    (1000.0, 979.0, "better"),
    (10.0, 11.9, None),  # below the slack, though above the tolerance
    (10.0, 12.1, "WORSE "),
    (None, 10.0, "new   "),
])
def test_differences(before, now, word):
    lines, is_worse = run.differences(cases_of(x=before) if before else {}, cases_of(x=now), 0.02, 2.0)
    assert [line[:6] for line in lines] == ([word] if word else [])
    assert is_worse == (word in ("WORSE ", "new   "))


def test_a_case_that_is_gone_is_named():
    kept = cases_of(frame_get=1.0, hash_8=1.0, ring_cold=None)
    assert run.missing_cases(kept, cases_of(hash_8=1.0), []) == ["frame-get"]
    assert run.missing_cases(kept, cases_of(hash_8=1.0), ["hash"]) == []
