"""`python -m septet status DIR`, `python -m septet seal FILE...` and `python -m septet config ROOT`."""

import sys
from pathlib import Path

from septet import workflow_config
from septet.cli import program
from septet.progress import running
from septet.reading import read_mapping
from septet.reseal import reseal

USAGE = """usage: python -m septet status DIR     progress of the jobs that are running below DIR
       python -m septet seal FILE...   accept tables and cards that were changed on purpose, or by another program
       python -m septet check FILE     read a file of settings as strictly as the workflow does
       python -m septet config ROOT    write the default configuration of the checkout ROOT"""


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["status", folder]:
            print("\n".join(running(Path(folder))) or "no job is running")
        case ["seal", *files] if files:
            for file in files:
                reseal(Path(file))
        case ["check", file]:
            read_mapping(file)
        case ["config", root]:
            workflow_config.write(Path(root))
        case _:
            sys.exit(USAGE)


if __name__ == "__main__":
    program("septet", main)
