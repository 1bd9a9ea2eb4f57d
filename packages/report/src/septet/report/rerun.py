"""The commands that make the scores of a run card, and a figure of a page, again."""

import json
import shlex

from septet.card import RunCard


def rerun_command(card: RunCard, scale: str) -> str:
    """The Snakemake command that runs a card's job again, at the scale it was run at; empty if the card does not say.

    The job is the one of this checkout's configuration: a run with other settings (`--config`) has them in
    its card, and `python -m PAPER train --config CARD'S CONFIGURATION --out DIR` repeats it to the letter.
    """
    names = [_name(card.config.get(key)) for key in ("method", "task")]
    if card.verb != "train" or None in names:
        return ""
    target = f"results/{scale}/{card.paper}/runs/{names[0]}/{names[1]}/scores.parquet"
    return f"snakemake --profile profiles/local --config scale={scale} --force -- {target}"


def figure_command(paper: str, name: str, source: str) -> str:
    """The Snakemake command that draws one figure of a page again, from the folder that the page was made from."""
    adopted = "" if source == "published" else f" --config {shlex.quote(f'adopt={json.dumps(source)}')}"
    return f".venv/bin/snakemake --profile profiles/local{adopted} -- figure/{paper}/{name}"


def _name(given: object) -> str | None:
    name = given.get("name") if isinstance(given, dict) else None
    return name if isinstance(name, str) else None
