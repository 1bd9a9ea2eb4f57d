"""What tests of several packages share: components that may be missing here, but never on CI."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

# Before NumPy and torch load: a worker has one core, and threads that wait for each other cost three times the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import pytest


def need(there: bool, what: str) -> None:
    """Skip when a component is missing; on CI (environment CI) that is a failure."""
    if not there:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have {what}")
        pytest.skip(f"needs {what}")


@pytest.fixture(scope="session", name="need")
def need_fixture() -> Callable[[bool, str], None]:
    """`need`, for other conftest files and tests."""
    return need


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets, from SEPTET_DATA."""
    folder = os.environ.get("SEPTET_DATA", "")
    need(bool(folder) and Path(folder).is_dir(), "SEPTET_DATA, a folder with the data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    need(found is not None, "Chromium (Debian package chromium)")
    return str(found)
