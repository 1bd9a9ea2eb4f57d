"""The version of all packages, which are released together: print it, or set it everywhere it is written.

`python tools/version.py 0.2.0` writes it into each package's module, into what packages ask of each other, and into
CITATION.cff; `--expect 0.2.0` fails if another version is written somewhere.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WRITTEN = [
    ("packages/*/src/septet/**/*.py", r'^__version__ = "([^"]+)"'),
    ("packages/*/pyproject.toml", r'"septet[a-z-]*==([^"]+)"'),
    ("tools/paper/packages/*/pyproject.toml", r'"septet[a-z-]*==([^"]+)"'),
    ("CITATION.cff", r"^version: (\S+)"),
]
"""Files, and the pattern whose group is the version."""


def found(root: Path) -> list[tuple[str, str]]:
    """(file, version) of every place that states one."""
    return [
        (str(path.relative_to(root)), match[1])
        for files, pattern in WRITTEN
        for path in sorted(root.glob(files))
        for match in re.finditer(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def write(root: Path, version: str) -> None:
    """Write `version` in every place."""
    for files, pattern in WRITTEN:
        for path in sorted(root.glob(files)):
            text = path.read_text(encoding="utf-8")
            new = re.sub(pattern, lambda match: match[0].replace(match[1], version), text, flags=re.MULTILINE)
            if new != text:
                path.write_text(new, encoding="utf-8")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("version", nargs="?", help="the version to write")
    parser.add_argument("--expect", help="fail if another one is written somewhere")
    options = parser.parse_args()
    if options.version:
        if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", options.version):
            sys.exit(f"version: expected one like 0.2.0 or 0.2.0rc1, found {options.version!r}")
        write(ROOT, options.version)
    written = found(ROOT)
    wanted = options.expect or options.version or written[0][1]
    for file, version in written:
        if version != wanted:
            sys.exit(f"{file}: expected version {wanted}, found {version}")
    print(wanted)


if __name__ == "__main__":
    main()
