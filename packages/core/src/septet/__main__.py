"""`python -m septet status DIR`, `python -m septet seal FILE...` and `python -m septet config ROOT`."""

import sys
from pathlib import Path

from septet import house
from septet.errors import EXIT_BAD_INPUT, InputError
from septet.progress import running
from septet.reseal import reseal

USAGE = """usage: python -m septet status DIR     progress of the jobs that are running below DIR
       python -m septet seal FILE...   accept tables and cards that were changed on purpose, or by another program
       python -m septet config ROOT    write the default configuration and schemas of the checkout ROOT"""


def main() -> None:
    """Do what the command line says."""
    try:
        _run(sys.argv[1:])
    except InputError as error:
        print(f"septet: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


def _run(arguments: list[str]) -> None:
    match arguments:
        case ["status", folder]:
            print("\n".join(running(Path(folder))) or "no job is running")
        case ["seal", _, *_]:
            for file in arguments[1:]:
                reseal(Path(file))
        case ["config", root]:
            house.write(Path(root))
        case _:
            sys.exit(USAGE)


if __name__ == "__main__":
    main()
