"""Write containers/<image>.lock: the part of requirements.lock that an image's packages need (`make lock`)."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def table(root: Path = ROOT) -> dict[str, dict]:
    """The images of containers/images.yaml."""
    return yaml.safe_load((root / "containers/images.yaml").read_text(encoding="utf-8"))


def declared(root: Path = ROOT) -> dict[str, list[Requirement]]:
    """What each of our distributions says that it needs, by its canonical name."""
    projects = [
        tomllib.loads(file.read_text(encoding="utf-8"))["project"] for file in root.glob("packages/*/pyproject.toml")
    ]
    return {
        canonicalize_name(project["name"]): [Requirement(line) for line in project["dependencies"]]
        for project in projects
    }


def closure(wanted: list[Requirement], ours: dict[str, list[Requirement]]) -> set[str]:
    """Canonical names of all that `wanted` needs: of ours by their manifests, of others by what is installed here."""
    found: set[tuple[str, str]] = set()
    open_ends = [(requirement, extra) for requirement in wanted for extra in ("", *requirement.extras)]
    while open_ends:
        requirement, extra = open_ends.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in found:
            continue
        found.add((name, extra))
        needs = ours[name] if name in ours else map(Requirement, importlib.metadata.requires(name) or [])
        for need in needs:
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                open_ends += [(need, inner) for inner in ("", *need.extras)]
    return {name for name, _ in found} - ours.keys()


def lock_of(packages: list[str], root: Path = ROOT) -> str:
    """The lines of requirements.lock that `packages` need."""
    ours = declared(root)
    names = [
        tomllib.loads((root / f"packages/{name}/pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
        for name in packages
    ]
    needed = closure([Requirement(name) for name in names], ours)
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines if canonicalize_name(re.split("==", line)[0]) in needed)


def resolved(asked: list[str], python: str) -> str:
    """What pip installs for `asked` under a version of Python, as a lock; nothing is installed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed", "--target", folder,
             "--python-version", python, "--only-binary=:all:", "--report", str(report), *asked],
            check=True,
        )  # fmt: skip
        found = [entry["metadata"] for entry in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return "".join(f"{line}\n" for line in sorted((f"{one['name']}=={one['version']}" for one in found), key=str.lower))


if __name__ == "__main__":
    for name, image in table().items():
        lock = lock_of(image["packages"]) if "packages" in image else resolved(image["asks"], image["python"])
        (ROOT / f"containers/{name}.lock").write_text(lock, encoding="utf-8")
