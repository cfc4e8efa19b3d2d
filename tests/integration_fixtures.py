# SPDX-License-Identifier: Apache-2.0
"""The fixtures and helpers of tests/integration, for the conftest.py of other folders:

    from integration_fixtures import *

Modules beside that conftest (processes, resp) can be imported from then on.
"""
import importlib.util
import pathlib
import sys

INTEGRATION = pathlib.Path(__file__).resolve().parent / "integration"
sys.path.insert(0, str(INTEGRATION))

# By another name than that of the conftest which asks.
_spec = importlib.util.spec_from_file_location("integration_conftest", INTEGRATION / "conftest.py")
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)
globals().update({name: value for name, value in vars(_module).items() if not name.startswith("_")})
