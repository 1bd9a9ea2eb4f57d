"""Score tables and run cards for Weights & Biases and TensorBoard: `make track`.

One W&B run per seed of a job, in the group `paper/method`. Its id is that of the run card and the seed, so the same
job is the same run anywhere, and a second call adds nothing: a ledger in the output folder names what is whole, and a
run that was cut short is written again. Everything is written to files; nothing is sent, and no key is read. To send:
`wandb sync results/laptop/tracking/wandb/offline-run-*`.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from septet.card import RunCard
from septet.config import Settings, validate
from septet.files import write_text
from septet.reading import is_file
from septet.report.tables import paper_of
from septet.sealed import read_sealed_json, write_json

Sink = Literal["wandb", "tensorboard"]
LEDGER = "ledger.json"
PROJECT = "septet"
ABOUT = set("id paper task methods config data sources lock image versions wall_seconds".split())
"""What W&B is told of a run card."""


class Series(Settings):
    """The scores of one seed of a job, ready to be written."""

    id: str
    """Run card's id and seed; the id of the W&B run."""
    scale: str
    card: RunCard
    seed: int
    points: dict[int, dict[str, float]]
    """Step -> metric -> value."""

    @property
    def method(self) -> str:
        """The method of the configuration; a job of several settings has labels below it."""
        return str(self.card.config["method"]["name"])

    @property
    def digest(self) -> str:
        """SHA-256 of the points."""
        return hashlib.sha256(json.dumps(self.points, sort_keys=True).encode()).hexdigest()


def series(card: RunCard, scores: pl.DataFrame, scale: str) -> Iterator[Series]:
    """One per seed of a job. If the job has several labels, the label precedes the metric."""
    rows = scores.filter(pl.col("task") == card.task, pl.col("method").is_in(list(card.methods)))
    one_label = len(card.methods) == 1
    for seed in card.seeds:
        points: dict[int, dict[str, float]] = {}
        mine = rows.filter(pl.col("seed") == seed).sort("step", "method", "metric")
        for step, method, metric, value in mine.select("step", "method", "metric", "value").iter_rows():
            points.setdefault(step, {})[metric if one_label else f"{method}/{metric}"] = value
        if points:
            yield Series(id=f"{card.id}-{seed}", scale=scale, card=card, seed=seed, points=points)


def track(results: Path, papers: list[str], sinks: list[Sink], out: Path) -> dict[str, int]:
    """Write what is not yet written of the papers' results.

    Args:
        results: the folder `results/<scale>`.
        out: folder for the files of the sinks and the ledger.

    Returns:
        Sink -> runs written now.

    Raises:
        InputError: a paper's results are missing or torn, or the ledger is.
    """
    written = Counter[str](dict.fromkeys(sinks, 0))
    for paper in [paper_of(results, name) for name in papers]:  # all are read before any is written
        for card in paper.cards:
            written.update(write(series(card, paper.scores, paper.scale), sinks, out))
    return written


def write(every: Iterator[Series], sinks: list[Sink], out: Path) -> dict[str, int]:
    """Write the series that the ledger does not name, and then name them. Returns sink -> runs written."""
    ledger = read_ledger(out)
    written: dict[str, int] = dict.fromkeys(sinks, 0)
    for one in every:
        for name in sinks:
            if ledger.get(name, {}).get(one.id) != one.digest:
                SINKS[name](one, out)
                ledger.setdefault(name, {})[one.id] = one.digest
                written[name] += 1
    if any(written.values()):
        write_json(out / LEDGER, {name: dict(sorted(runs.items())) for name, runs in sorted(ledger.items())})
    return written


class Ledger(Settings):
    """What is whole: sink -> id of the run -> digest of its points."""

    wandb: dict[str, str] = {}
    tensorboard: dict[str, str] = {}


def read_ledger(out: Path) -> dict[str, dict[str, str]]:
    """The ledger of an output folder, empty if there is none yet; raises InputError if it is torn."""
    path = out / LEDGER
    if not is_file(path):
        return {}
    data = read_sealed_json(path, "a ledger of make track with its checksum")
    return validate(Ledger, data if isinstance(data, dict) else {"": data}, str(path)).model_dump()


def summary(written: dict[str, int], out: Path) -> str:
    """Write how many runs the ledger names to `summary.json`, and say how many are new."""
    whole = {name: len(runs) for name, runs in read_ledger(out).items()}
    write_text(out / "summary.json", json.dumps(whole, sort_keys=True) + "\n")
    return "\n".join(f"{name}: {count} runs written, {whole.get(name, 0)} in all" for name, count in written.items())


def to_wandb(one: Series, out: Path) -> None:
    """One offline run; what an earlier, interrupted call left of it goes first."""
    for old in (out / "wandb").glob(f"offline-run-*-{one.id}"):
        shutil.rmtree(old)
    run = wandb_run(
        out,
        id=one.id,
        name=f"{one.method} on {one.card.task}, seed {one.seed}",
        group=f"{one.card.paper}/{one.method}",
        job_type=one.card.task,
        tags=[one.card.paper, one.scale],
        config={
            "seed": one.seed,
            "scale": one.scale,
            **one.card.model_dump(mode="json", include=ABOUT),
        },
    )
    for step, values in sorted(one.points.items()):
        run.log(values, step=step)
    run.finish()


def wandb_run(out: Path, mode: Literal["offline", "online"] = "offline", **about: Any) -> Any:
    """A W&B run that keeps all its files below `out`, and records nothing of the machine or the command line."""
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
        os.environ[name] = str((out / "cache").absolute())
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    import wandb

    out.mkdir(parents=True, exist_ok=True)
    quiet = wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    return wandb.init(project=PROJECT, mode=mode, dir=str(out), settings=quiet, reinit="create_new", **about)


def to_tensorboard(one: Series, out: Path) -> None:
    """One event file, stamped with the start of the run, so that the same run gives the same numbers and times."""
    from tensorboardX import SummaryWriter

    folder = out / "tensorboard" / one.card.paper / one.method / one.card.task / f"seed{one.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    stamp = datetime.fromisoformat(one.card.started.replace("Z", "+00:00")).timestamp()
    with SummaryWriter(str(folder)) as writer:
        for step, values in sorted(one.points.items()):
            for metric, value in values.items():
                writer.add_scalar(metric, value, step, walltime=stamp, display_name=metric)


SINKS: dict[str, Callable[[Series, Path], None]] = {"wandb": to_wandb, "tensorboard": to_tensorboard}
