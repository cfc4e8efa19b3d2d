# SPDX-License-Identifier: Apache-2.0
"""The recipe of the image; that it can be built, and runs: `make imagetest`, which takes minutes."""
import re

from processes import ROOT


def packages_of(function):
    """What tools/setup.sh installs there."""
    text = (ROOT / "tools" / "setup.sh").read_text()
    body = re.search(rf"^{function}\(\) {{\n(.*?)^}}", text, re.M | re.S).group(1)
    return set(re.findall(r"^    need (\S+)", body, re.M))


def test_the_image_is_built_with_all_that_make_run_installs():
    recipe = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    words = re.search(r"--no-install-recommends(.*?)\n[A-Z]", recipe, re.S).group(1).replace("\\\n", " ").split()
    needed = packages_of("need_run") - {"make", "redis-server"}
    assert len(needed) > 8
    assert set(words) == needed
