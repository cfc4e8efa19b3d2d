#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks and changes a JUnit file of pytest, for tools/test.sh.

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


def main(verb, report, test=None):
    document = tree.parse(report)
    cases = list(document.iter("testcase"))
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
