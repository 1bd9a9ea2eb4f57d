"""The small results folder of the report's tests, and its fixtures."""

import importlib.util
import sys
from pathlib import Path

_FILE = Path(__file__).parents[2] / "report/tests/conftest.py"
_spec = importlib.util.spec_from_file_location("report_demo", _FILE)
assert _spec is not None and _spec.loader is not None
_demo = importlib.util.module_from_spec(_spec)
sys.modules["report_demo"] = _demo
_spec.loader.exec_module(_demo)
globals().update({name: value for name, value in vars(_demo).items() if not name.startswith("_")})
