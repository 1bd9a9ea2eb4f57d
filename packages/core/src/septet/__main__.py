"""The command `septet`, which is also `python -m septet`: core's own commands, and the verbs of every package."""

import importlib.util
import runpy
import sys
from pathlib import Path

from septet import workflow_config
from septet.cli import program
from septet.progress import running
from septet.reading import read_mapping
from septet.reseal import reseal

__version__ = "0.1.0"

USAGE = """usage: septet PACKAGE VERB ...  a verb of a package: septet dynts train --config job.yaml --out run
       septet evaluate MODEL    returns of a trained policy over noise-free episodes; --help shows the options
       septet watch MODEL       video of a trained policy
       septet status DIR        progress of the running jobs below DIR
       septet seal FILE...      accept tables and cards changed on purpose or by another program
       septet check FILE        check a settings file as strictly as the workflow does
       septet config ROOT       write the default configuration of the checkout ROOT
       septet --version         the version of all packages
packages: {}"""


OF_RL = ("evaluate", "watch")
"""Verbs of the package rl that need no package's name: they read the models of all packages on it."""


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
        case ["--version"]:
            print(f"septet {__version__}")
        case ["--help" | "-h"]:
            print(USAGE.format(", ".join(packages())))
        case _:
            sys.exit(USAGE.format(", ".join(packages())))


def packages() -> list[str]:
    """The packages installed here that have verbs."""
    spec = importlib.util.find_spec("septet")
    places = [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    return sorted(path.parent.name for place in places for path in place.glob("*/__main__.py"))


def command() -> None:
    """Run a package's verb, or a command of core, and exit with its code."""
    if sys.argv[1:2] and sys.argv[1] in OF_RL and "rl" in packages():
        sys.argv.insert(1, "rl")
    if len(sys.argv) > 1 and sys.argv[1] in packages():
        package = sys.argv.pop(1)
        runpy.run_module(f"septet.{package}", run_name="__main__", alter_sys=True)
    else:
        program("septet", main)


if __name__ == "__main__":
    command()
