#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps docs/man/sumcache.yaml.5, the page of settings, as the program has them.

  tools/gen_man.py [--build DIR]           writes it
  tools/gen_man.py [--build DIR] --check   only says whether it is up to date (status 1: no)

The settings come from `sumcache --print-config`, as those of docs/operations.md do.
"""
import argparse
import pathlib
import subprocess
import sys

import gen_config_doc

PAGE = gen_config_doc.ROOT / "docs" / "man" / "sumcache.yaml.5"

HEAD = r'''.\" SPDX-License-Identifier: Apache-2.0
.\" Written by tools/gen_man.py.
.Dd November 26, 2026
.Dt SUMCACHE.YAML 5
.Os
.Sh NAME
.Nm sumcache.yaml
.Nd settings of sumcache
.Sh DESCRIPTION
A YAML file that
.Xr sumcache 1
reads by
.Fl \-config .
A setting with a dot is one inside a section:
.Cm limits.memory
is
.Cm memory
below
.Cm limits .
What is not given has its default.
Times have a unit (us, ms, s, m, h), sizes may have one (kb, mb, gb, tb).
A setting that there is not, or a value out of range, is an error with line and column:
.Dl sumcache --config sumcache.yaml --check-config
.Sh SETTINGS
.Bl -tag -width Ds
'''

TAIL = r'''.El
.Sh EXAMPLES
.Bd -literal
listen: [0.0.0.0:6379]
auth: { password_file: /etc/sumcache/password }
nodes:
  static: [10.0.0.11:6379, 10.0.0.12:6379, 10.0.0.13:6379]
timeouts: { request: 100ms }
on_failure: { reads: miss }
limits: { clients: 10000, memory: 1gb }
.Ed
.Sh SEE ALSO
.Xr sumcache 1
'''


def escaped(text):
    """As the text of a line, whatever it begins with."""
    text = text.replace("\\", "\\e").replace("…", "...")
    return "\\&" + text if text[:1] in ".'" else text


def page(rows):
    lines = []
    for name, default, allowed, meaning, _ in rows:
        default = "none" if default in ("[]", "{}") else default
        lines += [f".It Cm {name}", escaped(meaning) + ".", escaped(f"Allowed: {allowed}; default: {default}.")]
    return HEAD + "\n".join(lines) + "\n" + TAIL


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(gen_config_doc.ROOT / "build"), help="where sumcache was built")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    command = [str(pathlib.Path(options.build) / "sumcache"), "--print-config"]
    config = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    new = page(gen_config_doc.settings(config))
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if new == old:
        return 0
    if options.check:
        print("docs/man/sumcache.yaml.5 is out of date: run tools/gen_man.py")
        return 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
