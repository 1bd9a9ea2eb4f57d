"""The arguments of the verbs about a model; without MuJoCo, which `watch` imports after it has chosen a renderer."""

import argparse
from pathlib import Path

ROOT = 7_000_003
"""Root of the starts of episodes by default: no training has it."""


def number_list(text: str) -> list[int]:
    """Numbers between commas, for argparse."""
    return [int(part) for part in text.split(",")]


def arguments_of(verb: str, purpose: str) -> argparse.ArgumentParser:
    """The arguments that every verb about a model has."""
    parser = argparse.ArgumentParser(prog=f"septet {verb}", description=purpose, allow_abbrev=False)
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of a job, or its model/")
    parser.add_argument("--kind", choices=["best", "last"], default="best", help="which policy of each seed")
    parser.add_argument("--seeds", type=number_list, help="seeds of the job, as 0,1,2; all by default")
    parser.add_argument("--method", help="label of a method, of a job with several; its first by default")
    parser.add_argument("--root", type=int, default=ROOT, help="root seed of the episodes' starts")
    return parser
