"""The processor: what it can do, which of its instructions libraries use, and a command run as on another one.

NumPy, numba, OpenBLAS, MKL, oneDNN and PyTorch choose their code by what the processor can do, and each choice rounds
differently. Environment variables limit each of them, so that a newer processor computes as an older one:

    python -m septet.processor haswell -- COMMAND ...

Jobs of the workflow run as `portable`. MuJoCo and polars have one code path, libm the same functions from AVX2 on.
"""

import importlib
import os
import platform
import sys
from collections.abc import Callable, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from septet.errors import InputError

CPUINFO = Path("/proc/cpuinfo")
LEVELS = {
    "x86-64-v2": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
    "x86-64-v3": "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave",
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
}
"""Flags of /proc/cpuinfo that each level of the psABI needs in addition to those of the levels below it."""
BEYOND = ("avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "sve", "sve2")
"""Instruction sets beyond a level that libraries choose code by."""

HASWELL = {
    "NUMBA_CPU_NAME": "haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}
WITHOUT_MKL = {key: value for key, value in HASWELL.items() if not key.startswith("MKL")}
PROCESSORS: dict[str, dict[str, str]] = {
    "native": {},
    "portable": HASWELL,
    "compatible": {**WITHOUT_MKL, "MKL_CBWR": "COMPATIBLE"},
    "skylake": {  # AVX-512 of 2017, no AMX
        "NUMBA_CPU_NAME": "skylake-avx512",
        "NPY_DISABLE_CPU_FEATURES": "AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "SkylakeX",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "ATEN_CPU_CAPABILITY": "avx512",
    },
    "haswell": HASWELL,  # Intel with AVX2
    "zen3": {  # AMD with AVX2: MKL gives other makers' processors its compatible code
        **WITHOUT_MKL,
        "NUMBA_CPU_NAME": "znver3",
        "NUMBA_CPU_FEATURES": "-sse4a",  # AMD's alone
        "OPENBLAS_CORETYPE": "Zen",
        "MKL_CBWR": "COMPATIBLE",
    },
    "x86-64-v2": {  # neither AVX nor fused multiply-add: furthest from the others
        "NUMBA_CPU_NAME": "x86-64-v2",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Nehalem",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
    },
}
"""Model of a processor -> environment variables, beside NUMBA_CPU_FEATURES. `portable` is haswell where the processor
has its instructions, and native elsewhere; `compatible` is portable with the code that MKL has for all makers."""
COMPUTES_AS = "SEPTET_PROCESSOR"
"""Environment variable that a command finds its model in."""
AVX2 = {"avx2", "fma", "bmi2"}
NEEDS = {"skylake": {*AVX2, *LEVELS["x86-64-v4"].split()}, "haswell": AVX2, "zen3": AVX2, "x86-64-v2": {"sse4_2"}}
"""Flags of /proc/cpuinfo without which the model's compiled code does not run."""
USAGE = f"usage: python -m septet.processor {{{','.join(PROCESSORS)}}} -- COMMAND ..."


def environment(model: str, flags: Set[str]) -> dict[str, str]:
    """Variables under which libraries compute as on a processor of this model; none of `native`.

    Numba's cached functions carry the model's name, so models can share a SEPTET_CACHE.

    Args:
        model: one of `PROCESSORS`.
        flags: of this machine's processor; see `read_cpuinfo`.

    Raises:
        InputError: the processor lacks instructions of the model.
    """
    if model == "native" or (model in ("portable", "compatible") and not flags >= AVX2):
        return {}
    if lacks := sorted(NEEDS.get(model, set()) - flags):
        raise InputError(model, expected=f"a processor with {', '.join(lacks)}", found="one without")
    return {"NUMBA_CPU_FEATURES": "", **PROCESSORS[model]}  # the features are the model's own


def main() -> None:
    """Replace this process by a command, which computes as on another processor."""
    arguments = sys.argv[1:]
    if len(arguments) < 3 or arguments[0] not in PROCESSORS or arguments[1] != "--":
        print(USAGE, file=sys.stderr)
        raise SystemExit(2)
    command = arguments[2:]
    try:
        limits = environment(arguments[0], read_cpuinfo(cpuinfo())[1])
        os.execvpe(command[0], command, {**os.environ, **limits, COMPUTES_AS: arguments[0]})
    except InputError as error:
        print(f"septet: {error}", file=sys.stderr)
    except OSError as error:
        print(f"septet: expected a command, found {command[0]} ({error.strerror})", file=sys.stderr)
    raise SystemExit(2)


def cpuinfo() -> str:
    """The text of /proc/cpuinfo, empty where there is none."""
    return CPUINFO.read_text(encoding="utf-8") if CPUINFO.is_file() else ""


def describe() -> dict[str, Any]:
    """What a run card records: model, instruction sets, what it computes as, the code path of each library in use."""
    model, flags = read_cpuinfo(cpuinfo())
    return {
        "computes_as": os.environ.get(COMPUTES_AS, "native"),
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


def multiplies_bfloat16() -> bool:
    """Whether this process may use instructions for products of bfloat16 numbers; no model that limits it has them."""
    limited = "ONEDNN_MAX_CPU_ISA" in os.environ
    return not limited and not read_cpuinfo(cpuinfo())[1].isdisjoint(("avx512_bf16", "amx_bf16", "bf16"))  # or ARM's


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


if __name__ == "__main__":
    main()
