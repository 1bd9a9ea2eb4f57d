"""The locks against known advisories: `make audit`, with ADVISORIES=FOLDER for a machine without network.

FOLDER holds advisories of the OSV form as YAML or JSON, e.g. a clone of github.com/pypa/advisory-database or the
unpacked PyPI dump of osv.dev. Without it, `pip-audit` asks the index, if it is installed and the network lets it.
Exit code 0: nothing known; 1: something is; 2: could not look.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from licences import LOCKS, ROOT, locked
from packaging.version import InvalidVersion, Version


def normal(name: str) -> str:
    """A distribution's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def advisories(folder: Path) -> Iterator[dict[str, Any]]:
    """The advisories below a folder that are not withdrawn."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for file in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.json")]):
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if file.suffix == ".json" else loader(text).get_single_data()
        if isinstance(found, dict) and "affected" in found and not found.get("withdrawn"):
            yield found


def hit(affected: dict[str, Any], version: Version) -> bool:
    """Whether an entry of an advisory covers a version: it is listed, or lies in a range."""
    if any(_version(one) == version for one in affected.get("versions", [])):
        return True
    for span in affected.get("ranges", []):
        if span.get("type") != "ECOSYSTEM":
            continue
        inside = False
        events = [(kind, _version(at)) for event in span["events"] for kind, at in event.items() if kind != "limit"]
        for kind, at in sorted((e for e in events if e[1] is not None), key=lambda e: (e[1], e[0] == "introduced")):
            if kind == "introduced" and at <= version:
                inside = True
            elif (kind == "fixed" and at <= version) or (kind == "last_affected" and at < version):
                inside = False
        if inside:
            return True
    return False


def _version(text: str) -> Version | None:
    try:
        return Version(str(text))
    except InvalidVersion:
        return None


def known(pins: list[tuple[str, str]], every: Iterator[dict[str, Any]]) -> tuple[list[str], int]:
    """A line for each pin that an advisory covers, and how many advisories were looked at."""
    versions = {normal(name): Version(version) for name, version in pins}
    lines, count = [], 0
    for advisory in every:
        count += 1
        for affected in advisory["affected"]:
            package = affected.get("package", {})
            version = versions.get(normal(str(package.get("name", ""))))
            if package.get("ecosystem") == "PyPI" and version is not None and hit(affected, version):
                aliases = ", ".join(advisory.get("aliases", []))
                lines.append(f"{normal(package['name'])} {version}: {advisory.get('id')} {aliases}".rstrip())
    return sorted(set(lines)), count


def main() -> int:
    """Look, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--advisories", type=Path, help="folder of advisories")
    folder = parser.parse_args().advisories
    pins = [pin for lock in LOCKS for pin in locked((ROOT / lock).read_text(encoding="utf-8"))]
    if folder is None:
        if shutil.which("pip-audit") is None:
            print("audit: neither ADVISORIES=FOLDER nor pip-audit is available: nothing was checked", file=sys.stderr)
            return 2
        asked = [f"--requirement={ROOT / lock}" for lock in LOCKS]
        return subprocess.run(["pip-audit", "--no-deps", "--disable-pip", *asked], check=False).returncode
    lines, count = known(pins, advisories(folder))
    if not count:
        print(f"audit: no advisory below {folder}: nothing was checked", file=sys.stderr)
        return 2
    print("\n".join([*lines, f"{len(lines)} of {len(pins)} pins are covered by one of {count} advisories"]))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
