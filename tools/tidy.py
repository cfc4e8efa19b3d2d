#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the rules of docs/style.md and docs/principles.md that a machine can check.

  tools/tidy.py [--root DIR] [--build DIR] [--no-objects]

Reads the sources, and with them the objects of the plain build: layers, the one door to the
system (src/os), no mutable globals, banned functions, lengths, a unit test per module, and that
the documents name only what exists. Prints one line per finding; exits 1 if there is an error.
What is let pass stands in tools/exceptions.txt, with the reason.
"""

import argparse
import fnmatch
import os
import re
import subprocess
import sys

CODE_FOLDERS = ("src", "sim", "tests", "bench", "client")
SKIPPED_FOLDERS = {".git", "node_modules", "dist", "api", "coverage", "__pycache__", ".pytest_cache", "corpus", "raw"}
COLUMNS_MAX = 100
COLUMNS_MAX_OF_SCRIPTS = 150  # tests are tables of bytes and commands, which no formatter folds
FUNCTION_LINES_MAX = 90  # style.md asks for about 70; between the two a reader may judge
FILE_LINES_MAX = 700  # style.md asks for about 600

BANNED = {
    "strcpy": "memcpy with a known length",
    "strcat": "snprintf",
    "strncpy": "memcpy with a known length",
    "strncat": "snprintf",
    "sprintf": "snprintf",
    "vsprintf": "vsnprintf",
    "gets": "struct str",
    "strtok": "struct str",
    "alloca": "a fixed array or malloc: a stack has no ceiling that can be asked for",
    "atoi": "str_to_i64",
    "atol": "str_to_i64",
    "atoll": "str_to_i64",
    "rand": "the rng of the seam",
    "srand": "the rng of the seam",
}

# Names that say nothing about what is inside (docs/style.md, "One word per idea").
EMPTY_NAMES = re.compile(r"(^|_)(utils?|misc|common|helpers?|managers?|stuff)(_|$)")

# What an object outside src/os may take from libc: functions of their arguments and of malloc.
# Everything else is a door to the outside world and belongs behind the seam. A name that is
# missing here is either pure, then add it, or it is not, then move the caller to src/os. What
# depends on the locale is pure as long as setlocale() is missing here.
PURE = set(
    """
    memchr memcmp memcpy memmem memmove memrchr memset mempcpy rawmemchr explicit_bzero
    strcasecmp strchr strchrnul strcmp strcspn strdup strlen strncasecmp strncmp strndup strnlen
    strpbrk strrchr strspn strstr
    strtol strtoll strtoul strtoull strtod snprintf vsnprintf
    malloc calloc realloc reallocarray free aligned_alloc posix_memalign malloc_trim
    malloc_usable_size
    qsort qsort_r bsearch abs labs llabs
    abort __stack_chk_fail
    inet_ntop inet_pton strerror strerrorname_np strerrordesc_np
    fnmatch __ctype_b_loc __ctype_tolower_loc __ctype_toupper_loc tolower toupper
    ceil floor round lround llround fabs fmod log log2 log10 exp pow sqrt cbrt nearbyint trunc
    _GLOBAL_OFFSET_TABLE_
    """.split()
)
PURE_PATTERNS = re.compile(
    r"^__(u?(div|mod|divmod|mul)[sdt]i[34]|popcount[sd]i2|cl?tz[sd]i2|atomic_.*)$"
)

# Headers that are included in the middle of a file, for their rows.
TABLES = ("_table.h", "_cases.h", "_slots.h")

C_TOKEN = re.compile(
    r"""(?P<line>//[^\n]*)|(?P<block>/\*.*?\*/)|"""
    r"""(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""",
    re.S,
)


class Source:
    """A C file: its text, its code with comments and literals blanked out, and its comments."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8") as f:
            self.text = f.read()
        self.lines = self.text.split("\n")
        self.comments = []  # (first line, last line, text, is_line_comment)
        self.code = C_TOKEN.sub(self._blank, self.text)
        self.code_lines = self.code.split("\n")

    def _blank(self, match):
        token = match.group(0)
        if match.group("text") is None:
            first = self.text.count("\n", 0, match.start()) + 1
            last = first + token.count("\n")
            self.comments.append((first, last, token, match.group("line") is not None))
            return re.sub(r"[^\n]", " ", token)
        if self.text[self.text.rfind("\n", 0, match.start()) + 1 :].lstrip().startswith("#include"):
            return token  # the name of an included file is wanted
        return token[0] + " " * (len(token) - 2) + token[-1]

    def folder(self):
        """The layer a file belongs to: src/net/loop.c → net, tests/unit/test_x.c → tests."""
        parts = self.path.split("/")
        return parts[1] if parts[0] == "src" and len(parts) > 2 else parts[0]

    def includes(self):
        """(line number, quoted or angled, name) of each #include."""
        for number, line in enumerate(self.code_lines, 1):
            match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
            if match:
                yield number, match.group(1), match.group(2)

    def functions(self):
        """(name, line of the opening brace, line of the closing one) of each function body."""
        start = None
        for number, line in enumerate(self.code_lines, 1):
            if line.rstrip() == "{":
                start = number
            elif line.startswith("}") and start is not None:
                head = " ".join(self.code_lines[max(0, start - 12) : start - 1])
                head = re.split(r"[;}]", head)[-1]
                name = re.search(r"([A-Za-z_]\w*)\s*\(", head)
                yield (name.group(1) if name else "?"), start, number
                start = None


class Tidy:
    def __init__(self, root, build):
        self.root = root
        self.build = os.path.abspath(build)
        self.findings = []
        self.warnings = 0
        self.exceptions = []  # [kind, file, names, used]
        self.sources = {}
        self.other_files = []

    def error(self, path, line, text):
        self.findings.append((path, line, "error", text))

    def warn(self, path, line, text):
        self.warnings += 1
        self.findings.append((path, line, "warning", text))

    # Reading.

    def read_tree(self):
        for folder, folders, files in os.walk(self.root):
            relative = os.path.relpath(folder, self.root)
            relative = "" if relative == "." else relative + "/"
            folders[:] = sorted(
                d
                for d in folders
                if d not in SKIPPED_FOLDERS and not (relative == "" and d.startswith("build"))
            )
            for name in sorted(files):
                path = relative + name
                if name.endswith((".c", ".h")) and path.startswith(CODE_FOLDERS):
                    self.sources[path] = Source(self.root, path)
                elif name.endswith((".py", ".sh", ".md", ".yml", ".yaml", ".txt", ".js", ".php")):
                    self.other_files.append(path)
                elif name in ("Makefile", "meson.build", "meson_options.txt", "run"):
                    self.other_files.append(path)

    def read_text(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()

    def exists(self, path):
        return os.path.exists(os.path.join(self.root, path))

    def read_layers(self):
        layers = {}
        for line in self.read_text("tools/layers.txt").split("\n"):
            line = line.split("#")[0].strip()
            if line:
                folder, _, allowed = line.partition(":")
                layers[folder.strip()] = set(allowed.split())
        return layers

    def read_exceptions(self):
        path = "tools/exceptions.txt"
        if not self.exists(path):
            return
        for number, line in enumerate(self.read_text(path).split("\n"), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            head, _, reason = line.partition(" : ")
            words = head.split()
            if len(words) < 2 or words[0] not in ("symbol", "global", "untested"):
                self.error(path, number, "not `kind FILE NAME… : reason`")
            elif len(reason.split()) < 3:
                self.error(path, number, "an exception needs a reason")
            elif not self.exists(words[1]):
                self.error(path, number, f"{words[1]} does not exist")
            else:
                names = words[2:] or ["*"]
                self.exceptions += [[words[0], words[1], n, False, number] for n in names]

    def is_excepted(self, kind, path, name):
        found = False
        for exception in self.exceptions:
            if exception[:2] == [kind, path] and fnmatch.fnmatchcase(name, exception[2]):
                exception[3] = found = True
        return found

    # Text.

    def check_text(self, path, text):
        # Tables are read by their columns, documents are wrapped by whoever shows them.
        is_wide = path.endswith((".md", ".txt", ".yml", ".yaml", "meson.build", *TABLES))
        columns_max = COLUMNS_MAX if path.endswith((".c", ".h")) else COLUMNS_MAX_OF_SCRIPTS
        if "\r" in text:
            self.error(path, 1, "carriage return")
        if text and not text.endswith("\n"):
            self.error(path, text.count("\n") + 1, "no line feed at the end of the file")
        if text.endswith("\n\n"):
            self.error(path, text.count("\n"), "blank line at the end of the file")
        for number, line in enumerate(text.split("\n"), 1):
            if "\t" in line and os.path.basename(path) != "Makefile":
                self.error(path, number, "tab")
            if line != line.rstrip():
                self.error(path, number, "trailing blank")
            if len(line) > columns_max and not is_wide:
                self.error(path, number, f"{len(line)} columns; the limit is {columns_max}")
        if path.endswith((".c", ".h", ".py", ".sh", ".js", ".php")):
            head = "\n".join(text.split("\n")[:3])
            if "SPDX-License-Identifier: Apache-2.0" not in head:
                self.error(path, 1, "no SPDX-License-Identifier in the first lines")
        stem = os.path.splitext(os.path.basename(path))[0]
        if EMPTY_NAMES.search(stem):
            self.error(path, 1, "a file name that does not say what is inside")

    # One C file.

    def check_source(self, s):
        if not s.lines[0].startswith("/* SPDX-License-Identifier: Apache-2.0 */"):
            self.error(s.path, 1, "the first line is /* SPDX-License-Identifier: Apache-2.0 */")
        for first, _, text, is_line_comment in s.comments:
            if is_line_comment:
                self.error(s.path, first, "a // comment: use /* */")
            for word in re.finditer(r"\b(TODO|FIXME|XXX|HACK)\b", text):
                if not re.match(r"\(#\d+\)", text[word.end() :]):
                    self.error(s.path, first, f"{word.group(1)} without an issue: write it as (#N)")
        is_header = s.path.endswith(".h")
        if is_header and "#pragma once" not in s.code and not s.path.endswith(TABLES):
            self.error(s.path, 1, "a header without #pragma once")
        is_test = s.path.startswith("tests/")  # those run under the sanitizers
        no_sleep = s.path.startswith(("tests/unit/", "tests/scenario/"))
        for number, line in enumerate(s.code_lines, 1):
            for call in re.finditer(r"(?<![\w.>])([a-z_]\w*)\s*\(", line):
                name = call.group(1)
                if name in BANNED and not is_test:
                    self.error(s.path, number, f"{name}() is banned: use {BANNED[name]}")
                if no_sleep and name in ("sleep", "usleep", "nanosleep"):
                    self.error(s.path, number, "a test that sleeps is slow or lies: turn the clock")
            if re.match(r"\s*typedef\s+(struct|union|enum)\b", line):
                self.error(s.path, number, "typedef hides what it is: write struct, union or enum")
        self.check_lengths(s)

    def check_lengths(self, s):
        def has_reason(first, last):
            return any(
                first <= c[0] <= last and re.search(r"\bLong:", c[2]) for c in s.comments
            )

        count = len(s.lines) - 1
        if count > FILE_LINES_MAX and not has_reason(1, 40):
            self.warn(s.path, 1, f"{count} lines; split it, or say `Long: why` in its head comment")
        for name, start, end in s.functions():
            length = end - start + 1
            if length > FUNCTION_LINES_MAX and not has_reason(start - 15, end):
                self.warn(
                    s.path, start, f"{name}() has {length} lines; split it, or say `Long: why`"
                )

    # Files among each other.

    def resolve(self, s, name):
        """The path of an included file of ours, or None."""
        top = s.path.split("/")[0]
        beside = os.path.normpath(os.path.join(os.path.dirname(s.path), name)).replace("\\", "/")
        # Tests of the simulator see sim/ as it sees itself.
        simulator = f"sim/{name}" if top == "tests" else beside
        public = f"client/c/include/{name}"
        for path in (f"src/{name}", public, name, f"{top}/{name}", beside, simulator):
            if path in self.sources:
                if path == beside and path.startswith("src/") and path != f"src/{name}":
                    return None  # in src/ a file is named by its path from there
                return path
        return None

    def check_includes(self, layers):
        graph = {}
        for s in self.sources.values():
            folder = s.folder()
            if folder not in layers:
                self.error(s.path, 1, f"folder {folder} is not in tools/layers.txt")
                continue
            seen_angled = False
            for number, kind, name in s.includes():
                if kind == "<":
                    seen_angled = True
                    continue
                target = self.resolve(s, name)
                if target is None:
                    self.error(s.path, number, f'"{name}" is no file of ours; paths start at src/')
                    continue
                graph.setdefault(s.path, []).append((target, number))
                if s.path.endswith(".c") and seen_angled and not name.endswith(TABLES):
                    self.error(s.path, number, f'"{name}" after system headers: ours come first')
                below = self.sources[target].folder()
                allowed = layers[folder]
                if s.path.startswith("src/") and not target.startswith("src/"):
                    self.error(s.path, number, f'the product may not include "{name}"')
                elif below != folder and below not in allowed and "*" not in allowed:
                    self.error(s.path, number, f'layer {folder} may not include "{name}"')
            self.check_own_header_first(s)
        self.check_cycles(graph)

    def check_own_header_first(self, s):
        own = s.path[:-2] + ".h"
        if s.path.endswith(".c") and own in self.sources:
            first = next(s.includes(), None)
            if first is None or first[1] != '"' or self.resolve(s, first[2]) != own:
                self.error(s.path, first[0] if first else 1, "its own header has to come first")

    def check_cycles(self, graph):
        """Headers that include each other in a ring compile, thanks to #pragma once, and rot."""
        state = {}

        def visit(path, trail):
            state[path] = "open"
            for target, number in graph.get(path, []):
                if state.get(target) == "open":
                    ring = " → ".join(trail[trail.index(target) :] + [target])
                    self.error(path, number, f"headers include each other: {ring}")
                elif target not in state:
                    visit(target, trail + [target])
            state[path] = "done"

        for path in sorted(graph):
            if path.endswith(".h") and path not in state:
                visit(path, [path])

    def check_modules(self):
        """Each module is built and has a unit test; each unit test is built."""
        for s in self.sources.values():
            folder, name = os.path.split(s.path)
            if not name.endswith(".c") or s.path.startswith(("tests/integration/", "tests/clients/")):
                continue  # the clients of other libraries there are compiled by their tests
            meson = f"{folder}/meson.build"
            # Tests are listed by the name of their program, without `.c`.
            names = {meson: f"{name[:-2]}(\\.c)?", "meson.build": re.escape(s.path)}
            if not any(
                self.exists(m) and re.search(rf"'{n}'", self.read_text(m)) for m, n in names.items()
            ):
                self.error(s.path, 1, f"{meson} does not build it")
            tests = {"src": "tests/unit", "client/c/src": "client/c/tests/unit"}
            part = folder if folder in tests else s.path.split("/")[0]
            if part in tests:
                test = f"{tests[part]}/test_{name}"
                if test not in self.sources and not self.is_excepted("untested", s.path, ""):
                    self.error(s.path, 1, f"no {test}, nor a reason in tools/exceptions.txt")

    # Objects.

    def objects_of_sources(self):
        """(source path, object file) for what the build has made of src/."""
        # Meson puts the object of a/b/c.c of a target declared in a/ under a/TARGET.p/b_c.c.o.
        sources = {}
        for path in self.sources:
            if path.startswith("src/") and path.endswith(".c"):
                parts = path.split("/")
                for i in range(len(parts)):
                    sources["/".join(parts[:i]), "_".join(parts[i:])] = path
        for folder, _, files in sorted(os.walk(self.build)):
            declared_in = os.path.relpath(os.path.dirname(folder), self.build).replace(os.sep, "/")
            for name in sorted(files):
                path = sources.get(("" if declared_in == "." else declared_in, name[:-2]))
                if name.endswith(".o") and path:
                    yield path, os.path.join(folder, name)

    def objects(self, tool, *options):
        """(source path, output line) of a tool that is run on each object."""
        for path, file in self.objects_of_sources():
            self.seen_objects.add(path)
            output = subprocess.run(
                [tool, *options, file], check=True, capture_output=True, text=True
            ).stdout
            for line in output.split("\n"):
                yield path, line

    def check_objects(self):
        self.seen_objects = set()
        ours = set()
        wanted = []
        for path, line in self.objects("nm"):
            words = line.split()
            if len(words) == 3:
                ours.add(words[2])
            elif len(words) == 2 and words[0] in "Uw":
                wanted.append((path, words[1].split("@")[0]))
        for path, symbol in wanted:
            if symbol in ours or path.startswith("src/os/"):
                continue
            plain = re.sub(r"^__isoc99_|^__isoc23_", "", symbol)
            plain = re.sub(r"^__(\w+)_chk$", r"\1", plain)
            if plain in PURE or PURE_PATTERNS.match(plain):
                continue
            if not self.is_excepted("symbol", path, plain):
                self.error(path, 1, f"uses {plain}: the outside world is behind src/os")
        self.check_globals()
        for path in self.sources:
            if path.startswith("src/") and path.endswith(".c") and path not in self.seen_objects:
                self.error(path, 1, f"no object of it in {self.build}: build first")

    def check_globals(self):
        writable = re.compile(r"^(\.data|\.bss|\.tdata|\.tbss)(\.(?!rel\.ro)|$)|^\*COM\*$")
        for path, line in self.objects("objdump", "-t"):
            # Address, seven flags, section, size, name. Flag O: an object; not for _Thread_local.
            match = re.match(r"^[0-9a-f]+ (.{7}) (\S+)\s+[0-9a-f]+\s+(?:\.hidden )?(\S+)$", line)
            if not match or not writable.match(match.group(2)):
                continue
            flags, section, name = match.groups()
            if "O" not in flags and ("d" in flags or not section.startswith(".t")):
                continue
            name = re.sub(r"\.\d+$", "", name)
            if not self.is_excepted("global", path, name):
                self.error(path, 1, f"mutable global {name} ({section})")

    # Documents.

    def read_prose(self, path):
        """A document without its code blocks; line numbers stay."""
        text = self.read_text(path)
        return re.sub(r"```.*?```", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)

    def check_links(self, path):
        text = self.read_prose(path)
        for match in re.finditer(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text):
            target = match.group(1)
            if re.match(r"[a-z]+:", target):
                continue
            number = text.count("\n", 0, match.start()) + 1
            if not self.exists(os.path.normpath(os.path.join(os.path.dirname(path), target))):
                self.error(path, number, f"link to {target}, which does not exist")

    def check_names_in(self, path):
        """Files, functions and structs that a document names in backticks have to exist."""
        code = "\n".join(s.code for s in self.sources.values())
        paths = set(self.sources) | set(self.other_files)
        text = self.read_prose(path)
        for match in re.finditer(r"`([^`\n]+)`", text):
            name = match.group(1)
            number = text.count("\n", 0, match.start()) + 1
            call = re.fullmatch(r"([a-z_]\w*)\([^)]*\)", name)
            if call and not re.search(rf"\b{call.group(1)}\b\)?\s*\(", code):
                self.error(path, number, f"there is no function {name}")
            struct = re.fullmatch(r"(struct|enum|union) (\w+)", name)
            if struct and not re.search(rf"\b{name}\s*(\{{|;)", code):
                self.error(path, number, f"there is no {name}")
            if re.fullmatch(r"[\w./-]+\.(c|h|py|sh|txt|md)|[\w.-]+/[\w./-]*", name):
                here = name.rstrip("/")
                found = (
                    self.exists(here)
                    or self.exists("src/" + here)
                    or self.exists(os.path.join(os.path.dirname(path), here))
                    or any(p.endswith("/" + here) for p in paths)
                )
                if not found:
                    self.error(path, number, f"there is no file {name}")

    def run(self, with_objects):
        self.read_tree()
        self.read_exceptions()
        for s in self.sources.values():
            self.check_text(s.path, s.text)
            self.check_source(s)
        for path in self.other_files:
            self.check_text(path, self.read_text(path))
            if path.endswith(".md"):
                self.check_links(path)
        self.check_includes(self.read_layers())
        self.check_modules()
        if self.exists("docs/tour.md"):
            self.check_names_in("docs/tour.md")
        if with_objects:
            self.check_objects()
            self.check_unused_exceptions()
        for path, line, kind, text in sorted(self.findings):
            print(f"{path}:{line}: {kind}: {text}")
        errors = len(self.findings) - self.warnings
        print(f"tidy: {len(self.sources)} C files, {errors} errors, {self.warnings} warnings")
        return 1 if errors else 0

    def check_unused_exceptions(self):
        for kind, path, name, used, number in self.exceptions:
            if not used:
                self.error(
                    "tools/exceptions.txt", number, f"{kind} {path} {name} is no longer needed"
                )


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", default=here)
    parser.add_argument("--build", help="the plain build; default: ROOT/build")
    parser.add_argument("--no-objects", action="store_true", help="sources and documents only")
    options = parser.parse_args()
    build = options.build or os.path.join(options.root, "build")
    sys.exit(Tidy(options.root, build).run(not options.no_objects))


if __name__ == "__main__":
    main()
