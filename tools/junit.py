#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks and changes a JUnit file of pytest, for tools/test.sh.

  junit.py count REPORT         prints how many passed and how many failed, and names those that did not pass on
                                standard error; one that skipped itself failed, unless "machine:" begins its reason
  junit.py failed REPORT        the tests that failed, as pytest names them
  junit.py passed REPORT TEST   exit status 0: it is there, and passed
  junit.py pass REPORT TEST     takes its failure out
"""
import sys
import xml.etree.ElementTree as tree

FAILURES = ("failure", "error")


def name_of(case):
    return case.get("classname").replace(".", "/") + ".py::" + case.get("name")


def failures_of(case):
    return [child for child in case if child.tag in FAILURES]


def count(cases):
    passed = failed = 0
    for case in cases:
        name = f"{case.get('classname') or ''} {case.get('name')}".strip()
        skipped = case.find("skipped")
        reason = skipped.get("message") or "" if skipped is not None else ""
        if failures_of(case):
            failed += 1
            print("FAILED:", name, file=sys.stderr)
        elif skipped is None:
            passed += 1
        elif reason.startswith("machine:"):
            print("not run:", name, "-", reason, file=sys.stderr)
        else:
            failed += 1
            print("FAILED: skipped:", name, "-", reason, file=sys.stderr)
    print(passed, failed)


def main(verb, report, test=None):
    document = tree.parse(report)
    cases = list(document.iter("testcase"))
    if verb == "count":
        count(cases)
        return 0
    if verb == "failed":
        for case in cases:
            if failures_of(case):
                print(name_of(case))
        return 0
    mine = [case for case in cases if name_of(case) == test]
    if verb == "passed":
        return 0 if mine and not any(failures_of(case) or case.find("skipped") is not None for case in mine) else 1
    for case in mine:
        for child in failures_of(case):
            case.remove(child)
    document.write(report)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
