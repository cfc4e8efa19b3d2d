# SPDX-License-Identifier: Apache-2.0
"""Real client libraries as subscribers of one proxy, and publishers at another."""
import subprocess

import pytest

from processes import SLOWNESS
from test_clients import CLIENTS, NEEDS_NODE_20, PYTHON, node_modules, node_version  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def hub(shared, nodes):
    """Two proxies over `nodes`."""
    return shared.proxy(nodes, workers=2), shared.proxy(nodes)


@pytest.mark.parametrize("library", ["ioredis5", "ioredis6", "redis5", "redis6", "redispy"])
def test_library(request, hub, library, key):
    if library in NEEDS_NODE_20 and 0 < node_version() < 20:
        pytest.skip(f"machine: {library} asks for Node.js 20")
    if library == "redispy":
        argv = [PYTHON, CLIENTS / "pubsub-redispy.py"]
    else:
        request.getfixturevalue("node_modules")
        argv = ["node", CLIENTS / ("pubsub-ioredis.mjs" if library.startswith("io") else "pubsub-node-redis.mjs"), library]
    done = subprocess.run([*map(str, argv), str(hub[0].port), str(hub[1].port), key(library)], timeout=20 * SLOWNESS,
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr[-3000:]
