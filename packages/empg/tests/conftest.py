"""Fixtures of the tests, and the way to their helpers."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are imported one by one, without their folder


@pytest.fixture(params=["gpt2", "llama", "float32"])
def lm(request):
    """A random model with learned positions; one with rotary ones and grouped heads; that one with our attention."""
    from empg_helpers import gpt2, llama

    from septet.empg import attention

    model = {"gpt2": gpt2, "llama": llama, "float32": llama}[request.param]()
    if request.param == "float32":
        model.set_attn_implementation(attention.NAME)
    return model
