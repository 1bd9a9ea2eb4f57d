"""`make bench`: measure every package that the papers run on next to its peers; rows go to published/bench/."""

import re
import subprocess
import sys
from pathlib import Path

from septet.workflow_config import read_papers

ROOT = Path(__file__).parents[1]


def benches(root: Path) -> dict[str, str]:
    """Folder of packages/ -> import name, of each package in workflow/papers.yaml that has a bench, in its order."""
    folders = dict.fromkeys(folder for row in read_papers(root).values() for folder in row.packages)
    found = {}
    for folder in folders:
        sources = root / "packages" / folder / "src"
        for file in sources.rglob("bench.py"):
            if re.search("^BENCH = ", file.read_text(encoding="utf-8"), re.MULTILINE):
                found[folder] = ".".join(file.parent.relative_to(sources).parts)
    return found


def main() -> int:
    """Measure one package after the other; the exit code of the first that fails."""
    for folder, package in benches(ROOT).items():
        command = [sys.executable, "-m", package, "bench", "--json", f"published/bench/{folder}.json"]
        if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
