"""Fixtures of the tests, and the way to their helpers."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are imported one by one, without their folder


@pytest.fixture(params=["gpt2", "llama"])
def lm(request):
    """A random model with learned positions, and one with rotary ones and grouped heads."""
    from empg_helpers import gpt2, llama

    return {"gpt2": gpt2, "llama": llama}[request.param]()
