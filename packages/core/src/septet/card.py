"""The run card (`run.json`): what made the score table next to it."""

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import resource
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

from septet import processor
from septet.config import Settings, validate
from septet.errors import InputError
from septet.files import checkout, sha256, source_digest
from septet.reading import readable
from septet.sealed import TABLES, read_sealed_json, write_json


class RunCard(Settings):
    """Everything that is known about one job, so that a point in a figure can be followed back to it."""

    id: str
    """Name of the job: digest of configuration, sources and lock. The same job has the same id on any machine."""
    paper: str
    verb: str
    task: str
    methods: dict[str, dict[str, Any]]
    """Each method label of the score table and the settings behind it."""
    seeds: list[int]
    config: dict[str, Any]
    """The resolved configuration: fed to the same verb again, it regrows the score table."""
    data: str
    """Where the data came from: the name and digest of the file, or how they were generated."""
    sources: dict[str, str]
    """SHA-256 of the source tree of each of our packages that ran."""
    lock: str | None
    """SHA-256 of requirements.lock; none outside a checkout."""
    image: str | None
    """Name of the container image, which carries the digest of its recipe; none when run natively."""
    versions: dict[str, str]
    host: dict[str, Any]
    started: str
    """When the job began: of one that was resumed, its first start."""
    wall_seconds: float
    """Of all starts together; what a killed process had done since its last save is not in it."""
    cpu_seconds: float
    """As `wall_seconds`."""
    paused_seconds: float = 0.0
    """Time from the start to the end that `wall_seconds` leaves out: the job was stopped, or the machine asleep."""
    contention: float | None = None
    """Share of the wall time in which a process of the machine waited for a processor; none where Linux's pressure
    stall information is missing."""
    peak_memory_mb: float
    steps: int
    """Environment steps or examples, over all seeds and methods of the job."""
    steps_per_second: float
    tables: dict[str, str] = {}
    """SHA-256 of the tables next to the card when it was written; empty for a bench."""
    commit: str | None = None
    """The commit of the checkout, with `+` if files differ from it; none where git or the checkout is missing."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a run card. Raises InputError if it is missing, changed, torn or of another form."""
        data = read_sealed_json(path, "a run card with its checksum")
        if not isinstance(data, dict):
            raise InputError(str(path), expected="a run card", found=data)
        return validate(cls, data, str(path))

    def write(self, path: Path) -> None:
        """Write the card as JSON with its checksum, in one step; after the tables next to it, which it names."""
        write_json(path, {**self.model_dump(mode="json"), "tables": table_digests(path.parent)})


def table_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each of `TABLES` that lies in a folder."""
    return {name: sha256(folder / name) for name in TABLES if (folder / name).is_file()}


def check_tables(card: Path, tables: Mapping[str, str]) -> None:
    """Check that the tables next to a card are the ones it was written with.

    Args:
        card: path of the card.
        tables: what it says: file name -> SHA-256.

    Raises:
        InputError: a table is missing, or is another one.
    """
    for name in TABLES:
        path = card.with_name(name)
        with readable(path, "a table"):
            found = sha256(path)
        if found != tables.get(name):
            raise InputError(
                str(path),
                expected=f"the table that {card.name} was written with, SHA-256 {tables.get(name, 'missing')[:12]}",
                found=f"{found[:12]}; restore it, run the job again, or accept it with `python -m septet seal {name}`",
            )


class Stopwatch:
    """Measures a job from its creation to its run card.

    Its state belongs in the job's checkpoint: a resumed job counts what all its starts took.
    """

    def __init__(self) -> None:
        self._wall = time.monotonic()
        self._waited = waited_seconds()
        self._started = time.time()
        self._before = [0.0, 0.0, 0.0]

    @property
    def state(self) -> dict[str, Any]:
        """The first start, in seconds since 1970, and the seconds of `_spent`, as arrays."""
        import numpy as np  # here, as the workflow reads run cards, too

        return {"started": np.array(self._started), "spent": np.array(self._spent())}

    @state.setter
    def state(self, saved: dict[str, Any]) -> None:
        self._started, self._before = float(saved["started"]), saved["spent"].tolist()

    def _spent(self) -> list[float]:
        """Seconds of all starts: wall time, processor time, and time in which a process waited for a processor."""
        wall, waited = time.monotonic() - self._wall, waited_seconds()
        cpu = sum(part.ru_utime + part.ru_stime for part in _usage())
        known = math.nan if waited is None or self._waited is None else waited - self._waited
        return [before + now for before, now in zip(self._before, (wall, cpu, known), strict=True)]

    @property
    def seconds(self) -> float:
        """Wall time of all starts."""
        return self._spent()[0]

    @property
    def contention(self) -> float | None:
        """`RunCard.contention` of all starts."""
        wall, _, waited = self._spent()
        return None if math.isnan(waited) else round(waited / max(wall, 1e-9), 3)

    def card(
        self,
        *,
        paper: str,
        verb: str,
        task: str,
        methods: dict[str, dict[str, Any]],
        seeds: list[int],
        config: Settings,
        packages: list[str],
        libraries: list[str],
        steps: int,
        data: str = "simulated",
    ) -> RunCard:
        """The run card of the job that this watch has timed.

        Args:
            packages: our import packages whose sources made the result.
            libraries: distributions whose versions may change the result.
            steps: environment steps or examples, over all seeds and methods.
        """
        resolved = config.model_dump(mode="json")
        sources = {name: source_digest(name) for name in packages}
        lock = lock_digest()
        identity = json.dumps([paper, verb, resolved, sources, lock, data], sort_keys=True)
        wall, cpu, _ = self._spent()
        return RunCard(
            id=hashlib.sha256(identity.encode()).hexdigest()[:12],
            paper=paper,
            verb=verb,
            task=task,
            methods=methods,
            seeds=seeds,
            config=resolved,
            data=data,
            sources=sources,
            lock=lock,
            image=os.environ.get("APPTAINER_NAME"),
            commit=commit(),
            versions={
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in libraries},
            },
            host={
                "name": platform.node(),
                "machine": platform.machine(),
                "system": platform.platform(),
                "cores": os.cpu_count(),
                **processor.describe(),
            },
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._started)),
            wall_seconds=round(wall, 3),
            paused_seconds=float(round(max(time.time() - self._started - wall, 0.0))),
            contention=self.contention,
            cpu_seconds=round(cpu, 3),
            peak_memory_mb=round(max(part.ru_maxrss for part in _usage()) / 1024, 1),
            steps=steps,
            steps_per_second=round(steps / max(wall, 1e-9), 1),
        )


def _usage() -> list[resource.struct_rusage]:
    """What this process and its children have used so far."""
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def waited_seconds() -> float | None:
    """Time since boot in which a process waited for a processor (/proc/pressure/cpu); none where it is not counted."""
    try:
        some = Path("/proc/pressure/cpu").read_text(encoding="ascii").splitlines()[0]
        return int(some.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError, IndexError):
        return None


def lock_digest() -> str | None:
    """SHA-256 of the checkout's requirements.lock, or none when the package was installed without it."""
    here = checkout()
    lock = here / "requirements.lock" if here else None
    return sha256(lock) if lock and lock.is_file() else None


@cache
def commit() -> str | None:
    """The first 12 digits of the checkout's commit, with `+` if a tracked file was changed; none without git."""
    here = checkout()
    if here is None:
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--match=", "--dirty=+"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
