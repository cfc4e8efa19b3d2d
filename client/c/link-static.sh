#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# link-static.sh PARTS OUTPUT DIR: an archive of one object that has only the names of the header.
set -eu
mkdir -p "$3"
ld -r --whole-archive "$1" -o "$3/sumcache.o"
objcopy --localize-hidden "$3/sumcache.o"
rm -f "$2"
ar rcsD "$2" "$3/sumcache.o"
