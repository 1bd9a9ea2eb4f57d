"""Publish a paper's results with a manifest of checksums."""

from pathlib import Path

import numpy as np
import polars as pl

from septet.card import table_digests
from septet.files import sha256
from septet.reading import is_file
from septet.report.published_models import models_of, write_models
from septet.report.source import FILES, Manifest, read_manifest
from septet.report.tables import Paper, Runs, one_scale, paper_of
from septet.scores import write_scores, write_timing
from septet.sealed import write_json


def publish(results: Path, papers: list[str], out: Path, *, add: bool = False) -> list[str]:
    """Write each paper's scores, times and run cards, reduce its models, and write a manifest with their checksums.

    Scores are rounded to six digits, which makes the tables much smaller. What is there of other papers stays,
    whatever scale it is of.

    Args:
        add: keep the jobs that are published already and were not run again.

    Returns:
        What was left out: a line for each model that is too large.

    Raises:
        InputError: a paper's results are missing or do not parse, a model is damaged, or published jobs are of another
            scale than the ones to be added; nothing is written then.
    """
    read = [paper_of(results, paper) for paper in papers]
    scale = one_scale(read)
    models = {paper.id: models_of(results, paper.id, {card.id for card in paper.cards}) for paper in read}
    there = {paper.id: paper_of(out, paper.id) for paper in read if add and is_file(out / paper.id / "runs.json")}
    one_scale([*read, *there.values()])
    files = _kept(out, papers)
    for paper in read:
        small, _ = models[paper.id]
        whole = _joined(there[paper.id], paper) if paper.id in there else paper
        folder = out / paper.id
        write_scores(folder / "scores.parquet", [rounded(whole.scores)])
        write_timing(folder / "timing.parquet", [whole.timing])
        runs = Runs(scale=scale, runs=whole.cards, tables=table_digests(folder))
        write_json(folder / "runs.json", runs.model_dump(mode="json"), indent=None)
        for name in (*FILES, *write_models(small, folder, keep={card.id for card in whole.cards})):
            files[f"{paper.id}/{name}"] = sha256(folder / name)
    write_json(out / "manifest.json", Manifest(files=dict(sorted(files.items()))).model_dump())
    return [f"{paper}/{place}" for paper, (_, large) in models.items() for place in large]


def _joined(old: Paper, new: Paper) -> Paper:
    """The jobs of `new`, and those of `old` of which `new` has no method on the same task."""
    again = {(card.task, method) for card in new.cards for method in card.methods}
    kept = [card for card in old.cards if not again & {(card.task, method) for method in card.methods}]
    labels = [(card.task, method) for card in kept for method in card.methods]
    own = pl.DataFrame(labels, schema={"task": pl.String, "method": pl.String}, orient="row")
    scores, timing = (table.join(own, on=["task", "method"], how="semi") for table in (old.scores, old.timing))
    cards = sorted([*kept, *new.cards], key=lambda card: (card.task, card.id))
    return Paper(new.id, pl.concat([scores, new.scores]), cards, new.scale, pl.concat([timing, new.timing]))


def rounded(scores: pl.DataFrame) -> pl.DataFrame:
    """A score table as it is published: values at 20 binary digits, except those beyond the range of single precision.

    Whole numbers up to a million stay as they are; others move by about a millionth of their size at most.
    """
    values = scores["value"].to_numpy()
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    short = ((single.view(np.int32) + 8) & ~15).view(np.float32).astype(np.float64)  # 4 of its 24 digits are dropped
    return scores.with_columns(value=pl.Series(np.where(np.isfinite(short), short, values)))


def same_as_published(a: pl.DataFrame, b: pl.DataFrame) -> bool:
    """Whether two score tables are the same, or one is published: rounded, once or twice, from the other.

    Then no value differs by more than a unit of the 20th binary digit.
    """
    if a.equals(b):
        return True
    if not a.drop("value").equals(b.drop("value")) or not any(rounded(one).equals(one) for one in (a, b)):
        return False
    x, y = (table["value"].to_numpy() for table in (a, b))
    return np.allclose(x, y, rtol=2.0**-19, atol=1e-42, equal_nan=True)  # atol: single precision's smallest numbers


def _kept(out: Path, papers: list[str]) -> dict[str, str]:
    """The lines of a published folder's manifest that are of other papers."""
    if not is_file(out / "manifest.json"):
        return {}
    lines = read_manifest(out / "manifest.json").files.items()
    return {name: digest for name, digest in lines if name.partition("/")[0] not in papers}
