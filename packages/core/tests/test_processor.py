"""What the run card says of the processor and of the code that libraries chose."""

import json
import os
import subprocess
import sys

import pytest

from septet import processor
from septet.card import Stopwatch
from septet.config import Settings
from septet.errors import InputError

V2 = {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}
V3 = V2 | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


@pytest.mark.parametrize(
    ("flags", "sets"),
    [
        (set(), []),
        (V2, ["x86-64-v2"]),
        (V3 - {"fma"}, ["x86-64-v2"]),
        (V3, ["x86-64-v3"]),
        (V4 | {"amx_tile", "avx512_bf16"}, ["x86-64-v4", "avx512_bf16", "amx_tile"]),
        (V4 - {"avx2"}, ["x86-64-v2"]),  # a level has all that the levels below it have
        ({"asimd", "sve"}, ["sve"]),
    ],
)
def test_the_level_of_a_processor(flags, sets):
    assert processor.instruction_sets(flags) == sets


def test_cpuinfo_is_read():
    text = "processor\t: 0\nmodel name\t: Toy CPU: 3 GHz\nflags\t\t: fma avx2\n\nprocessor\t: 1\nmodel name\t: Other\n"
    assert processor.read_cpuinfo(text) == ("Toy CPU: 3 GHz", {"fma", "avx2"})
    assert processor.read_cpuinfo("") == ("", set())


ASK = """
import json, sys
{imports}
from septet import processor
print(json.dumps([processor.code_paths(), sorted({{"numpy", "numba", "torch"}} & set(sys.modules))]))
"""


def ask(imports, **environment):
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(imports=imports)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_code_paths_are_those_taken_and_nothing_is_imported_for_them():
    paths, loaded = ask("")
    assert paths == {"blas": []} and loaded == []
    restricted = {
        "NUMBA_CPU_NAME": "haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "ATEN_CPU_CAPABILITY": "default",
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_NUM_THREADS": "1",
    }
    paths, _ = ask("import numpy, numba, torch", **restricted)
    assert (paths["numba"], paths["torch"]) == ("haswell", "DEFAULT")
    assert not {"X86_V4", "AVX512_ICL", "AVX512_SPR"} & set(paths["numpy"]) and "X86_V2" in paths["numpy"]
    (blas,) = (each for each in paths["blas"] if each.startswith("openblas"))
    assert blas.endswith(", Haswell, 1 threads")


def test_a_run_card_has_it():
    card = Stopwatch().card(
        paper="p", verb="train", task="t", methods={}, seeds=[0], config=Settings(), packages=["septet"],
        libraries=[], steps=1,
    )  # fmt: skip
    assert {"processor", "instruction_sets", "code_paths"} <= card.host.keys()
    assert card.host["processor"] == processor.describe()["processor"] != ""


def as_on(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "septet.processor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_numpy_and_numba_compute_as_on_another_processor():
    code = (
        "import numpy as np, llvmlite, numba; from numba.core import config;"
        "from numpy._core._multiarray_umath import __cpu_features__ as f; print(f['X86_V3'], config.CPU_NAME)"
    )
    done = as_on("x86-64-v2", "--", sys.executable, "-c", code)
    assert (done.returncode, done.stdout.split()) == (0, ["False", "x86-64-v2"]), done.stderr


def test_the_exit_code_of_the_command_is_kept():
    assert as_on("native", "--", sys.executable, "-c", "raise SystemExit(5)").returncode == 5


@pytest.mark.parametrize("arguments", [(), ("pentium", "--", "true"), ("haswell", "true"), ("haswell", "--")])
def test_a_wrong_call_says_how(arguments):
    done = as_on(*arguments)
    assert done.returncode == 2 and done.stderr.startswith("usage:") and done.stderr.count("\n") == 1


def test_an_unknown_command_is_one_line():
    done = as_on("portable", "--", "no-such-command")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "found no-such-command" in done.stderr


def test_a_processor_that_lacks_instructions():
    assert processor.environment("haswell", V3)["NUMBA_CPU_NAME"] == "haswell"
    with pytest.raises(InputError, match="a processor with avx512bw, avx512cd, avx512dq, avx512vl"):
        processor.environment("skylake", V3 | {"avx512f"})


@pytest.mark.parametrize(
    ("flags", "limits", "fast"),
    [("fma avx512_bf16", {}, True), ("fma", {}, False), ("fma amx_bf16", processor.HASWELL, False)],
)
def test_bfloat16_is_fast_with_its_instructions_alone(tmp_path, monkeypatch, flags, limits, fast):
    """A portable job computes in one type everywhere, whatever the processor could do."""
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    assert processor.multiplies_bfloat16() == fast


def test_portable_is_haswell_where_that_runs_and_native_elsewhere():
    assert processor.environment("portable", V4) == processor.environment("haswell", V3)
    assert processor.environment("portable", V3) == processor.environment("haswell", V3)
    assert processor.environment("compatible", V3)["MKL_CBWR"] == "COMPATIBLE"
    assert processor.environment("portable", V2) == processor.environment("portable", {"asimd", "sve"}) == {}
