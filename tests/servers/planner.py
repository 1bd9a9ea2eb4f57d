"""Dry runs of a Snakemake that is loaded once. Orders are ``{"arguments", "cwd", "environment", "log"}``."""

import os
import sys
from typing import Any

import forks
import pydantic  # noqa: F401, it is slow to load, as is the report
import snakemake.cli
import snakemake.report


def plan(order: dict[str, Any]) -> None:
    """What `python -m snakemake` does, in a child."""
    forks.write_to(order["log"])
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["cwd"])
    sys.path[:1] = [order["cwd"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["snakemake", *order["arguments"]]
    snakemake.cli.main()


if __name__ == "__main__":
    forks.serve(plan)
