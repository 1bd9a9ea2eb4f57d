"""Trained policies as files: `model/` beside the score table, written at the end of a job, loaded by anyone.

``policies.safetensors`` has the arrays of the last policy of each seed and of the best one, the seeds as first axis;
``card.json`` says what they are. Both carry their checksum, and the card that of the arrays.
"""

import importlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from septet.card import RunCard
from septet.config import Settings, validate
from septet.errors import InputError
from septet.files import replacing_folder
from septet.model_files import CARD, FOLDER, find, load_arrays, save_arrays
from septet.rl.config import KeepModel
from septet.rl.loop import Array, Iteration
from septet.rl.policies import Policy, Shape
from septet.run import Run
from septet.sealed import read_sealed_json, write_json

ARRAYS = "policies.safetensors"
BOUNDS = ("action_low", "action_high")
Kind = Literal["last", "best"]


class Environment(Settings):
    """What a policy acts in."""

    name: str
    """A task of `septet.sampler`, or an id that Gymnasium knows."""
    options: dict[str, Any] = {}
    """Its settings."""
    registers: str | None = None
    """A module of ours whose `register` makes the name known; none where `septet.sampler` or Gymnasium knows it."""

    def register(self) -> None:
        """Make the name known. Raises InputError if its module is none of ours, or is not installed."""
        if self.registers is None:
            return
        try:
            if not self.registers.startswith("septet."):
                raise ImportError(f"{self.registers} is no module of septet")
            importlib.import_module(self.registers).register()
        except ImportError as error:
            raise InputError(self.name, expected="the package that has this environment", found=str(error)) from None


class Chosen(Settings):
    """When the policies of a kind were chosen, and by which score; one value for each row."""

    steps: list[int]
    """Environment steps that the seed had taken."""
    scores: list[float | None]
    """What the policy was judged by; null if it was not."""


class ModelCard(Settings):
    """What the arrays beside it are."""

    paper: str
    task: str
    environment: Environment
    methods: list[str]
    """Label of the method of each row, as in the score table."""
    seeds: list[int]
    """Seed of each row."""
    settings: dict[str, dict[str, Any]]
    """Each method label and the settings behind it."""
    shape: Shape
    """Of the policies; the arrays have what normalises the observations."""
    judged_by: str
    """Metric of the score table that chose the best policy; the choice makes its score optimistic."""
    kinds: dict[Kind, Chosen]
    """last: at the end; best: of all that were judged, the first if several are equal."""
    run: str | None
    """Id of the run card; null of a model that no job made."""
    rounded: Literal["float16"] | None = None
    """To what the weights were rounded when the model was published; null as it was trained."""
    sha256: str
    """Of the file of arrays."""


@dataclass(frozen=True)
class Model:
    """A loaded model: its card, and its policies by kind."""

    card: ModelCard
    policies: dict[Kind, Policy]

    def policy(self, kind: Kind, seeds: Sequence[int] | None = None, method: str | None = None) -> Policy:
        """The policies of a kind, for some seeds and for one method if the job had several.

        Raises:
            InputError: a kind, seed or method that the model does not have.
        """
        if kind not in self.policies:
            raise InputError("model: kind", expected=" or ".join(self.policies), found=kind)
        return self.policies[kind].rows(self.rows(seeds, method))

    def kind(self, asked: Kind) -> Kind:
        """The kind that is asked for, or the last policy where no best one was kept."""
        return "last" if asked == "best" and "best" not in self.policies else asked

    def rows(self, seeds: Sequence[int] | None = None, method: str | None = None) -> list[int]:
        """The rows of some seeds and of a method; of the first method and all its seeds by default."""
        method = self.card.methods[0] if method is None else method
        if method not in self.card.methods:
            raise InputError("model: method", expected=f"one of {', '.join(self.card.settings)}", found=method)
        own = {s: k for k, (m, s) in enumerate(zip(self.card.methods, self.card.seeds, strict=True)) if m == method}
        for seed in seeds or ():
            if seed not in own:
                raise InputError("model: seed", expected=f"one of {', '.join(map(str, own))}", found=seed)
        return [own[seed] for seed in (own if seeds is None else seeds)]


def write_model(folder: Path, card: Mapping[str, Any], policies: Mapping[Kind, Policy]) -> None:
    """Write both files of a model.

    Args:
        folder: an existing folder.
        card: the fields of `ModelCard`, without those that the policies and the file say.
        policies: of one shape.
    """
    any_policy = next(iter(policies.values()))
    arrays = dict(zip(BOUNDS, (any_policy.low, any_policy.high), strict=True))
    for kind, policy in policies.items():
        arrays |= {f"{kind}.{name}": array for name, array in policy.arrays.items()}
    digest = save_arrays(folder / ARRAYS, arrays)
    full = {**card, "shape": any_policy.shape.model_dump(mode="json"), "sha256": digest}
    write_json(folder / CARD, validate(ModelCard, full, str(folder / CARD)).model_dump(mode="json"))


def load_model(path: Path) -> Model:
    """Load what a job or `septet.rl.methods` saved.

    Args:
        path: a folder that `write_model` filled, or the folder of a job that has one.

    Raises:
        InputError: there is none, or a file was changed or damaged.
    """
    folder = find(Path(path))
    name, file = folder / CARD, folder / ARRAYS
    card = validate(ModelCard, read_sealed_json(name, "a model card with its checksum"), str(name))
    arrays = load_arrays(file, card.sha256, CARD)
    try:
        low, high = (arrays.pop(bound) for bound in BOUNDS)
        split: dict[Kind, dict[str, NDArray[Any]]] = {kind: {} for kind in card.kinds}
        for key, array in arrays.items():
            kind, _, which = key.partition(".")
            split[kind][which] = array  # type: ignore[index]
        policies = {kind: Policy(card.shape, low=low, high=high, **own) for kind, own in split.items()}
    except (LookupError, TypeError) as error:
        raise InputError(str(file), expected="the arrays of policies", found=str(error)) from None
    for kind, policy in policies.items():
        rows = {len(policy), len(card.seeds), len(card.methods), *map(len, card.kinds[kind].model_dump().values())}
        if len(rows) != 1:
            raise InputError(f"{name}: {kind}", expected=f"{len(policy)} rows", found=sorted(rows))
    return Model(card, policies)


class Keeps(Protocol):
    """A learner whose policies are kept."""

    judged_by: str
    """Metric that chooses the best policy."""
    judged_after: bool
    """Whether the metric is of the policy that an iteration left, not of the one that collected its episodes."""

    def iterate(self, iteration: int) -> Iteration:
        """See `septet.rl.loop.Learner`."""

    def acting(self) -> Policy:
        """The policies of all rows as they are; the arrays may change with the next iteration."""


class Kept:
    """The best policy of each row so far, while a job trains; at its end the best and the last become `model/`.

    A training module has ``kept.iterate(k)`` in the place of ``learner.iterate(k)``, ``kept`` in its state, and gives
    ``kept.write`` to `septet.run.Run.write`.

    Args:
        run: the job.
        learner: what trains.
        keep: which policies are kept.
        environment: what they act in.
        methods: labels of the variants that the rows are of, variant by variant; by default one, the job's method.
    """

    checkpointed = ("best", "score", "step", "latest", "steps")

    def __init__(
        self, run: Run, learner: Keeps, keep: KeepModel, environment: Environment, methods: Sequence[str] | None = None
    ) -> None:
        self.run, self.learner, self.keep, self.environment = run, learner, keep, environment
        labels = methods or [run.key[1]]
        self.methods = [label for label in labels for _ in run.seeds]
        self.seeds, rows = run.seeds * len(labels), len(self.methods)
        self.best = {} if keep != "both" else {name: array.copy() for name, array in learner.acting().arrays.items()}
        self.score, self.latest = np.full((2, rows), np.nan)
        self.step, self.steps = np.zeros((2, rows), np.int64)

    def iterate(self, iteration: int) -> Iteration:
        """Run an iteration of the learner, and keep the policies that are better than all before."""
        acted = self.learner.acting().copy() if self.keep == "both" and not self.learner.judged_after else None
        at = self.steps.copy()
        found = self.learner.iterate(iteration)
        self.steps += found.steps.astype(np.int64)
        if self.keep != "none" and self.learner.judged_by in found.scores:
            self.note(found.scores[self.learner.judged_by], acted, at if acted is not None else self.steps)
        return found

    def note(self, score: Array, policy: Policy | None, steps: NDArray[np.int64] | int) -> None:
        """Judge policies, by default the learner's as they are.

        Args:
            score: ``(S,)``, NaN for none.
            policy: that have these scores.
            steps: environment steps that their seeds had taken, ``(S,)`` or one number.
        """
        if self.keep == "none":
            return
        self.latest[:] = np.where(np.isnan(score), self.latest, score)
        if policy is None:
            self.steps[:] = steps
        if self.keep != "both":
            return
        better = (score > self.score) | (np.isnan(self.score) & ~np.isnan(score))
        for name, array in (self.learner.acting() if policy is None else policy).arrays.items():
            self.best[name][better] = array[better]
        self.score[better] = score[better]
        self.step[better] = np.broadcast_to(steps, better.shape)[better]

    def write(self, card: RunCard) -> None:
        """Write `model/` of the finished job, or remove the one of an earlier job."""
        if self.keep == "none":
            shutil.rmtree(self.run.out / FOLDER, ignore_errors=True)
            return
        last = self.learner.acting()
        policies: dict[Kind, Policy] = {"last": last}
        judged: dict[Kind, tuple[NDArray[np.int64], Array]] = {"last": (self.steps, self.latest)}
        if self.keep == "both":
            known = ~np.isnan(self.score)  # a seed without any score keeps its last policy
            best = {name: np.where(known[:, None], self.best[name], array) for name, array in last.arrays.items()}
            policies["best"] = Policy(last.shape, low=last.low, high=last.high, **best)
            judged["best"] = np.where(known, self.step, self.steps), self.score
        about = {
            "paper": card.paper,
            "task": card.task,
            "environment": self.environment.model_dump(mode="json"),
            "methods": self.methods,
            "seeds": self.seeds,
            "settings": card.methods,
            "judged_by": self.learner.judged_by,
            "kinds": {kind: chosen(*judged[kind]) for kind in policies},
            "run": card.id,
        }
        with replacing_folder(self.run.out / FOLDER, self.run.scratch) as folder:
            write_model(folder, about, policies)


def chosen(steps: NDArray[np.int64], scores: Array) -> dict[str, Any]:
    """The fields of `Chosen`."""
    return {"steps": steps.tolist(), "scores": [None if np.isnan(score) else float(score) for score in scores]}
