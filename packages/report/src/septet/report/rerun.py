"""The command that makes the scores of a run card again."""

from septet.card import RunCard


def rerun_command(card: RunCard, scale: str) -> str:
    """The Snakemake command that runs a card's job again, at the scale it was run at; empty if it cannot be told.

    The job is the one of this checkout's configuration: a run with other settings (`--config`) has them in
    its card, and `python -m PAPER train --config CARD'S CONFIGURATION --out DIR` repeats it to the letter.
    """
    names = [_name(card.config.get(key)) for key in ("method", "task")]
    if card.verb != "train" or None in names:
        return ""
    target = f"results/{scale}/{card.paper}/runs/{names[0]}/{names[1]}/scores.parquet"
    return f"snakemake --profile profiles/local --config scale={scale} --force -- {target}"


def _name(given: object) -> str | None:
    name = given.get("name") if isinstance(given, dict) else None
    return name if isinstance(name, str) else None
