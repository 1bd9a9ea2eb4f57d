"""The processor of this machine, and which of its instructions the libraries of this process use.

NumPy, numba, BLAS and PyTorch choose their code by what the processor can do, and each choice rounds differently.
"""

import importlib
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
LEVELS = {
    "x86-64-v2": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
    "x86-64-v3": "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave",
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
}
"""Flags of /proc/cpuinfo that each level of the psABI needs in addition to those of the levels below it."""
BEYOND = ("avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "sve", "sve2")
"""Instruction sets beyond a level that libraries choose code by."""


def describe() -> dict[str, Any]:
    """What a run card records: model, instruction sets, and the code path of each library that this process uses."""
    model, flags = read_cpuinfo(CPUINFO.read_text(encoding="utf-8") if CPUINFO.is_file() else "")
    return {
        "processor": model or platform.processor() or "unknown",
        "instruction_sets": instruction_sets(flags),
        "code_paths": code_paths(),
    }


def read_cpuinfo(text: str) -> tuple[str, set[str]]:
    """Model and flags of the first processor of a /proc/cpuinfo; an empty name and no flags where it has none."""
    lines = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in text.splitlines())]
    model = next((value for name, value in lines if name == "model name"), "")
    flags = next((value for name, value in lines if name in ("flags", "Features")), "")
    return model, set(flags.split())


def instruction_sets(flags: set[str]) -> list[str]:
    """The highest level of x86-64 that the flags reach, and what is beyond it."""
    reached: list[str] = []
    for level, needs in LEVELS.items():
        if not flags.issuperset(needs.split()):
            break
        reached = [level]
    return [*reached, *(name for name in BEYOND if name in flags)]


def code_paths() -> dict[str, Any]:
    """Library -> the instructions that its code is for; of those that are loaded, no other is imported."""
    found: dict[str, Any] = {}
    for library, ask in {"numpy": _numpy, "numba": _numba, "torch": _torch, "blas": _blas}.items():
        with suppress(ImportError, AttributeError):  # a library of another version, or threadpoolctl is not installed
            if library == "blas" or library in sys.modules:
                found[library] = ask()
    return found


def _numpy() -> list[str]:
    """The sets that NumPy dispatches to, of those that it has code for; a set switched off is not among them."""
    umath = importlib.import_module("numpy._core._multiarray_umath")
    return [name for name in [*umath.__cpu_baseline__, *umath.__cpu_dispatch__] if umath.__cpu_features__.get(name)]


def _numba() -> str:
    """The processor for which numba compiles."""
    config = importlib.import_module("numba.core.config")
    host: Callable[[], str] = importlib.import_module("llvmlite.binding").get_host_cpu_name
    return str(config.CPU_NAME or host())


def _torch() -> str:
    return str(sys.modules["torch"].backends.cpu.get_cpu_capability())


def _blas() -> list[str]:
    """Each BLAS that is loaded: library, version, kernels, threads."""
    pools = importlib.import_module("threadpoolctl").threadpool_info()
    blas = [{"architecture": "unknown", **pool} for pool in pools if pool["user_api"] == "blas"]
    return sorted("{internal_api} {version}, {architecture}, {num_threads} threads".format(**pool) for pool in blas)
