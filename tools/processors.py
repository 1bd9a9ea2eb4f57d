"""Run a command as it would run on another processor: `python tools/processors.py haswell -- make test`.

NumPy, numba, OpenBLAS, MKL, oneDNN and PyTorch choose their code by what the processor can do, and each choice rounds
differently. Each of them can be limited by environment variables, so a newer processor can stand in for an older one.
What cannot be limited: MuJoCo and polars, and the mathematical functions of libm, which are the same from AVX2 on.
"""

import os
import sys
from pathlib import Path

PROCESSORS = {
    "skylake": {  # AVX-512 of 2017, no AMX
        "NUMBA_CPU_NAME": "skylake-avx512",
        "NPY_DISABLE_CPU_FEATURES": "AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "SkylakeX",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "ATEN_CPU_CAPABILITY": "avx512",
    },
    "haswell": {  # Intel with AVX2
        "NUMBA_CPU_NAME": "haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
    },
    "zen3": {  # AMD with AVX2: MKL gives other makers' processors its compatible code
        "NUMBA_CPU_NAME": "znver3",
        "NUMBA_CPU_FEATURES": "-sse4a",  # AMD's alone
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Zen",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
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
"""Model of a processor -> environment variables, beside those of `environment`."""
AVX2 = {"avx2", "fma", "bmi2"}
NEEDS = {
    "skylake": {*AVX2, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "haswell": AVX2,
    "zen3": AVX2,
    "x86-64-v2": {"sse4_2"},
}
"""Flags of /proc/cpuinfo without which the model's compiled code does not run."""


def environment(model: str) -> dict[str, str]:
    """Variables under which libraries compute as on a processor of this model; none for `native`.

    Numba's cached functions carry the model's name, so models can share a SEPTET_CACHE.
    """
    if model == "native":
        return {}
    return {"NUMBA_CPU_FEATURES": "", **PROCESSORS[model]}  # the features are the model's own


def missing(model: str, cpuinfo: str) -> list[str]:
    """Flags that the model needs and the machine of this /proc/cpuinfo lacks."""
    flags = {flag for line in cpuinfo.splitlines() if line.startswith("flags") for flag in line.split()}
    return sorted(NEEDS.get(model, set()) - flags)


def main() -> None:
    """Replace this process by the command."""
    arguments = sys.argv[1:]
    if len(arguments) < 3 or arguments[0] not in ("native", *PROCESSORS) or arguments[1] != "--":
        sys.exit(f"usage: python tools/processors.py {{native,{','.join(PROCESSORS)}}} -- COMMAND ...")
    model, command = arguments[0], arguments[2:]
    if lacks := missing(model, Path("/proc/cpuinfo").read_text(encoding="utf-8")):
        sys.exit(f"processors.py: {model}: expected a processor with {', '.join(lacks)}, found one without")
    try:
        os.execvpe(command[0], command, {**os.environ, **environment(model)})
    except OSError as error:
        sys.exit(f"processors.py: expected a command, found {command[0]} ({error.strerror})")


if __name__ == "__main__":
    main()
