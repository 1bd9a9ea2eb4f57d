"""`make new-paper ID=name`: a working skeleton of another paper, from the template in tools/paper/."""

import keyword
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

from septet.workflow_config import SCALES, read_papers

ROOT = Path(__file__).parents[1]
TEMPLATE = Path(__file__).parent / "paper"
WORD = "skeleton"
RULES = {"all", "figures", "adopt", "evaluate", "judge", "page", "publish", "published", WORD, *SCALES}
"""Names that the workflow or the template has taken."""
GROWING = {"workflow/papers.yaml", *(f"config/scale/{scale}.yaml" for scale in SCALES)}
"""Files of the checkout that the template adds to."""
PLACES = {
    "pixi.toml": [
        (r"(septet-report = .*\n)", r'septet-skeleton = { path = "packages/skeleton", editable = true }\n\1')
    ],
    "pyproject.toml": [
        (r"(mypy_path = \".*)\"", r'\1:packages/skeleton/src"'),
        (r"\| empg\"", r'| empg | skeleton"'),
        (r'"septet.empg"', r'"septet.empg", "septet.skeleton"'),
    ],
}
"""File -> (pattern, replacement): the places besides its own files where a paper is named."""


def refusal(name: str) -> str | None:
    """Why `name` cannot be the id of a new paper, in one line; none if it can."""
    found = f"found {name!r}" if name else "found nothing"
    if not re.fullmatch("[a-z]{2,20}", name) or keyword.iskeyword(name):
        return f"ID: expected 2 to 20 lower-case letters, the name of a Python package, {found}"
    if name in RULES or name in sys.stdlib_module_names or name in read_papers(ROOT):
        return f"ID: expected an unused name, {found}, which the workflow or Python has"
    if (ROOT / "packages" / name).exists() or find_spec(f"septet.{name}") or name in packages_distributions():
        return f"ID: expected an unused name, {found}, which is a package here"
    return None


def files(name: str) -> dict[Path, str]:
    """Every file of the skeleton, and every file where it is named: path -> text."""
    made = {}
    for source in sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        place = Path(str(source.relative_to(TEMPLATE)).replace(WORD, name))
        text = source.read_text(encoding="utf-8").replace(WORD, name).replace(WORD.upper(), name.upper())
        made[place] = (ROOT / place).read_text(encoding="utf-8") + text if str(place) in GROWING else text
    for file, changes in PLACES.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        for pattern, replacement in changes:
            text, count = re.subn(pattern, replacement.replace(WORD, name), text)
            if not count:
                sys.exit(f"{file}: expected a line like {pattern}, found none; nothing written")
        made[Path(file)] = text
    return made


def run(*command: str | Path) -> None:
    """One command of the set-up, in the checkout."""
    sources = os.pathsep.join(str(folder) for folder in ROOT.glob("packages/*/src"))
    environment = {**os.environ, "PYTHONPATH": sources}
    command = (sys.executable, "-m", *map(str, command))
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Write the skeleton, or one line and exit code 2 with nothing written."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if (why := refusal(name)) is not None:
        print(why, file=sys.stderr)
        sys.exit(2)
    made = files(name)
    for place, text in made.items():
        (ROOT / place).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / place).write_text(text, encoding="utf-8")
    python = [place for place in made if place.suffix == ".py"]
    run("ruff", "check", "--quiet", "--select", "I", "--fix", *python)  # the order of imports depends on the name
    run("ruff", "format", "--quiet", *python)
    run("septet", "config", ".")
    print(f"packages/{name} and {len(made) - 1} more files; docs/add-a-paper.md explains them. After make setup:")
    print(f"  snakemake --profile profiles/local --config scale=smoke papers='[{name}]' -- {name}")


if __name__ == "__main__":
    main()
