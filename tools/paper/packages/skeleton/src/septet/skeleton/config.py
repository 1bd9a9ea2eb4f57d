"""Configuration of the paper's experiments; name the paper's section or table for each number."""

from pydantic import Field

from septet.config import Runs, Seeds, Settings


class Method(Settings):
    """An estimator."""

    name: str = ""
    """Name of the method; filled in by the workflow for a job."""
    shrink: bool = False
    """Shrink towards zero by James and Stein's rule."""


class Task(Settings):
    """A world to estimate."""

    name: str = ""
    """Name of the task; filled in by the workflow for a job."""
    dimension: int = Field(default=50, ge=3)
    """d."""


class Common(Settings):
    """What every job of the paper shares."""

    root_seed: int = Field(default=2000, ge=0)
    """Root of all random streams."""
    seeds: Seeds = Field(default=list(range(20)), min_length=1)
    """Replicates, run in lockstep."""
    rounds: int = Field(default=5, ge=1)
    """T, observations of each replicate."""


class Job(Common):
    """One training job: one method, one task, all seeds."""

    method: Method
    """The method."""
    task: Task
    """The task."""


class Experiments(Common, Runs):
    """The paper's experiments: `config/papers/skeleton.yaml`."""

    methods: dict[str, Method] = {"plain": Method(), "shrunk": Method(shrink=True)}
    """The method and its baselines."""
    tasks: dict[str, Task] = {"gaussian": Task()}
    """Worlds."""
    runs: dict[str, list[str]] = {"gaussian": ["plain", "shrunk"]}
    """Which methods run on which task; an empty list switches a task off."""
