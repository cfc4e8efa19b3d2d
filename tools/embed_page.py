#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the files of the admin page as C: each as it is and packed, so that nothing is read at run time.

    tools/embed_page.py OUT.c PATH|TYPE|FILE…      an empty FILE: the build has none, and the page says so
"""
import gzip
import hashlib
import pathlib
import sys


def array(name, data):
    rows = [", ".join(str(byte) for byte in data[at:at + 24]) for at in range(0, len(data), 24)]
    return f"static const unsigned char {name}[] = {{\n" + ",\n".join(rows) + "};\n"


def main():
    out, *assets = sys.argv[1:]
    text, table = ["/* Written by tools/embed_page.py. */\n", '#include "admin/assets.h"\n\n'], []
    for index, asset in enumerate(assets):
        path, kind, file = asset.split("|")
        data = pathlib.Path(file).read_bytes() if file else b"/* built without it */\n"
        packed = gzip.compress(data, 9, mtime=0)
        tag = hashlib.sha256(data).hexdigest()[:32]
        text += [array(f"plain_{index}", data), array(f"packed_{index}", packed)]
        table.append(f'    {{"{path}", "{kind}", "\\"{tag}\\"", plain_{index}, sizeof(plain_{index}), '
                     f"packed_{index}, sizeof(packed_{index})}},\n")
    text += ["\nconst struct asset ASSETS[] = {\n", *table, "};\n", f"const size_t ASSET_COUNT = {len(assets)};\n"]
    pathlib.Path(out).write_text("".join(text), encoding="ascii")


if __name__ == "__main__":
    main()
