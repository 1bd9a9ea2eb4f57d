"""Follow a long run from outside: `make live`.

A process of its own reads what the jobs leave on disk anyway, their `progress.json` and in the end their score tables,
and passes it on to W&B. A job does not know of it, import it or wait for it: if this process dies
or hangs, training does not notice, and it can be started again at any time.
"""

import argparse
import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from septet.card import RunCard, check_tables
from septet.errors import InputError
from septet.ops.track import series, wandb_run, write
from septet.progress import FILE
from septet.reading import walk
from septet.scores import read_scores

Mode = Literal["offline", "online"]


class Follower:
    """Passes on the progress of the jobs below a results folder, and the scores of those that end.

    Args:
        results: the folder `results/<scale>`.
        out: folder for W&B's files.
        mode: `online` sends as it goes, with the key that `wandb login` has stored.
    """

    def __init__(self, results: Path, out: Path, mode: Mode = "offline") -> None:
        self.results, self.out, self.mode = results, out, mode
        self._open: dict[str, tuple[Any, float]] = {}  # id of a running job -> its W&B run and its last word
        self._seen = {path: path.stat().st_mtime_ns for path in self._tables()}  # these ended before we came

    def look(self) -> int:
        """Pass on what is new; returns how many jobs are at work."""
        at_work = set()
        for file in walk(self.results):
            if file.name != FILE:
                continue
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # it ended while we looked
                at_work.add(self._progress(file))
        for gone in self._open.keys() - at_work:
            self._open.pop(gone)[0].finish()
        for table in self._tables():
            stamp = table.stat().st_mtime_ns
            if self._seen.get(table) != stamp:
                self._scores(table.parent)
                self._seen[table] = stamp
        return len(at_work)

    def close(self) -> None:
        """Finish every open run."""
        for run, _ in self._open.values():
            run.finish()
        self._open.clear()

    def _tables(self) -> list[Path]:
        return sorted(self.results.glob("*/runs/*/*/run.json"))  # the card is written last

    def _progress(self, file: Path) -> str:
        state = json.loads(file.read_text(encoding="utf-8"))
        place = file.parent.relative_to(self.results).as_posix()
        key = hashlib.sha256(f"{place} {state['pid']}".encode()).hexdigest()[:12]
        if key not in self._open:
            earlier = len(list((self.out / "wandb").glob(f"*run-*-live-{key}-*")))
            about = {"id": f"live-{key}-{earlier}", "name": state["label"], "group": "live", "tags": ["live"]}
            config = {"folder": place, "total": state["total"], "unit": state["unit"]}
            self._open[key] = wandb_run(self.out, self.mode, config=config, **about), 0.0
        run, last = self._open[key]
        if state["time"] != last:
            share = {"done": state["done"], "rate": state["rate"], "share": state["done"] / max(state["total"], 1)}
            run.log({**share, **state.get("measured", {})})
            self._open[key] = run, state["time"]
        return key

    def _scores(self, folder: Path) -> None:
        card = RunCard.read(folder / "run.json")
        check_tables(folder / "run.json", card.tables)
        write(series(card, read_scores(folder / "scores.parquet"), self.results.name), ["wandb"], self.out)


def follow(follower: Follower, every: float, until_idle: bool) -> None:
    """Look every so many seconds; a failed look is reported and the next one tries again."""
    try:
        while True:
            at_work = 1
            try:
                at_work = follower.look()
            except Exception as error:  # whatever W&B or a torn file may bring: following must go on
                print(f"septet.ops live: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            if until_idle and not at_work:
                return
            time.sleep(every)
    finally:
        follower.close()


def main(arguments: Sequence[str]) -> None:
    """Follow the jobs below a results folder until stopped."""
    parser = argparse.ArgumentParser(prog="python -m septet.ops live", allow_abbrev=False)
    parser.add_argument("results", type=Path, help="folder such as results/paper")
    parser.add_argument("--online", action="store_true", help="send as it goes; else files below RESULTS/tracking")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two looks")
    parser.add_argument("--until-idle", action="store_true", help="end when no job is at work")
    given = parser.parse_args(arguments)
    if not given.results.is_dir():
        raise InputError(str(given.results), expected="a folder with results", found="none")
    follower = Follower(given.results, given.results / "tracking", "online" if given.online else "offline")
    with contextlib.suppress(KeyboardInterrupt):
        follow(follower, given.every, given.until_idle)
