# SPDX-License-Identifier: Apache-2.0
"""The fixtures of tests/integration, for tests of what is in deploy/."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from integration_fixtures import *  # noqa: E402,F401,F403
