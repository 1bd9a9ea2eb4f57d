"""`python -m septet status DIR`: the progress of the jobs that are running below DIR."""

import sys
from pathlib import Path

from septet.progress import running


def main() -> None:
    """Print one line per running job."""
    if len(sys.argv) != 3 or sys.argv[1] != "status":
        sys.exit("usage: python -m septet status DIR")
    print("\n".join(running(Path(sys.argv[2]))) or "no job is running")


if __name__ == "__main__":
    main()
