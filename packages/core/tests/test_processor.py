"""What the run card says of the processor and of the code that libraries chose."""

import json
import os
import subprocess
import sys

import pytest

from septet import processor
from septet.card import Stopwatch
from septet.config import Settings

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
