"""The licence of each locked distribution and of each data set, as a page: `make licences` writes docs/licences.md.

From the metadata that is installed: the licence expression, else the classifier, else the name in the text, else the
first line of the licence file.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = {"requirements.lock": "to run", "requirements-dev.lock": "to test and to measure"}
UNKNOWN = "unknown"
DATA = [
    ("Upworthy Research Archive", "dynts", "CC BY 4.0", "https://upworthy.natematias.com"),
    ("CRAFT corpus, treebank", "vrda", "CC BY 3.0", "https://github.com/UCDenver-ccp/CRAFT"),
    ("UD English EWT", "vrda", "CC BY-SA 4.0", "https://github.com/UniversalDependencies/UD_English-EWT"),
    ("GSM8K", "empg", "MIT", "https://github.com/openai/grade-school-math"),
    ("MATH", "empg", "MIT", "https://github.com/hendrycks/math"),
    ("SmolLM2-135M-Instruct, weights", "empg", "Apache-2.0", "https://huggingface.co/HuggingFaceTB"),
    ("Qwen2.5-Coder-0.5B-Instruct, weights", "empg", "Apache-2.0", "https://huggingface.co/Qwen"),
]
"""As their publishers state them; none is part of this repository."""
SHORT = {
    "BSD License": "BSD", "MIT License": "MIT", "The MIT License (MIT)": "MIT", "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "ISC License (ISCL)": "ISC", "Apache License": "Apache-2.0",
    "Python Software Foundation License": "PSF-2.0", "University of Illinois/NCSA Open Source License": "NCSA",
}  # fmt: skip


def locked(text: str) -> list[tuple[str, str]]:
    """Names and versions of a lock."""
    return re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", text, flags=re.M)


def licence(name: str) -> str:
    """The licence of an installed distribution, `UNKNOWN` if its metadata do not say."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed here"
    metadata = found.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classified = [
        one.rpartition("::")[2].strip() for one in metadata.get_all("Classifier") or [] if "License ::" in one
    ]
    if classified:
        return " or ".join(SHORT.get(one, one) for one in classified)
    if (said := (metadata.get("License") or "").strip()) and len(said.splitlines()) == 1 and len(said) < 60:
        return SHORT.get(said, said)
    for file in found.files or []:
        if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            first = next(filter(None, map(str.strip, file.read_text(encoding="utf-8").splitlines())), "")
            return SHORT.get(first, first) or UNKNOWN
    return UNKNOWN


def page(licences: dict[str, list[tuple[str, str, str]]]) -> str:
    """The page in Markdown."""
    lines = ["# Licences", "", "Made by `make licences` from the metadata of what is installed; do not edit.", ""]
    lines += ["Septet is under the MIT licence. None of the following is copied into this repository.", ""]
    for lock, rows in licences.items():
        lines += [f"## {lock}: {LOCKS[lock]}", "", "| distribution | version | licence |", "|---|---|---|"]
        lines += [f"| {name} | {version} | {words} |" for name, version, words in rows] + [""]
    lines += ["## Data and weights", "", "As stated by their publishers.", ""]
    lines += ["| what | used by | licence | from |", "|---|---|---|---|"]
    lines += [f"| {what} | {who} | {words} | <{where}> |" for what, who, words, where in DATA]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page; 1 if a licence is not known."""
    licences = {
        lock: [(name, version, licence(name)) for name, version in locked((ROOT / lock).read_text(encoding="utf-8"))]
        for lock in LOCKS
    }
    (ROOT / "docs/licences.md").write_text(page(licences), encoding="utf-8")
    bad = [name for rows in licences.values() for name, _, words in rows if words in (UNKNOWN, "not installed here")]
    if bad:
        print(f"licences: unknown for {', '.join(bad)}", file=sys.stderr)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
