"""tools/processors.py: a command runs as on another processor."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools/processors.py"
spec = importlib.util.spec_from_file_location("processors", TOOL)
assert spec is not None and spec.loader is not None
processors = importlib.util.module_from_spec(spec)
spec.loader.exec_module(processors)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_numpy_and_numba_compute_as_on_that_processor() -> None:
    code = (
        "import numpy as np, llvmlite, numba; from numba.core import config;"
        "from numpy._core._multiarray_umath import __cpu_features__ as f; print(f['X86_V3'], config.CPU_NAME)"
    )
    done = run("x86-64-v2", "--", sys.executable, "-c", code)
    assert (done.returncode, done.stdout.split()) == (0, ["False", "x86-64-v2"]), done.stderr


def test_the_command_s_exit_code_is_kept() -> None:
    assert run("native", "--", sys.executable, "-c", "raise SystemExit(5)").returncode == 5


@pytest.mark.parametrize("arguments", [(), ("pentium", "--", "true"), ("haswell", "true"), ("haswell", "--")])
def test_a_wrong_call_says_how(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 1 and done.stderr.startswith("usage:") and done.stderr.count("\n") == 1


def test_a_processor_that_lacks_instructions_is_told() -> None:
    assert processors.missing("haswell", "flags\t\t: fma avx2 bmi2 sse2\n") == []
    assert processors.missing("skylake", "flags : fma avx2 bmi2 avx512f\n") == [
        *("avx512bw", "avx512cd", "avx512dq", "avx512vl")
    ]
