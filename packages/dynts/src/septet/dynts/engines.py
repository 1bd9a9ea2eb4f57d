"""One engine per kind of job: its state as named arrays, and how to move it on by a block of rounds.

An engine plays all schedules (V) and seeds (S) of a job in lockstep. `state` and `history` are all that must survive
an interruption; random numbers come from streams named by seed and round, so none of it is a generator.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.checkpoint import Arrays
from septet.dynts import schedules
from septet.dynts.choice import BEST, LOG_LOSS, REGRET, TOTALS, Choice, Motion
from septet.dynts.config import HeadlineBandit, Job, Simulation, Tracking
from septet.dynts.context_free import play_context_free
from septet.dynts.decay import decay
from septet.dynts.disjoint import play_disjoint
from septet.dynts.shared import play_shared
from septet.dynts.tracking import Headlines, track
from septet.dynts.worlds import initial_weights, simulate
from septet.errors import InputError
from septet.history import History
from septet.nonfinite import check_finite
from septet.seeding import stream

Array = NDArray[np.float64]
MEANS = ("best_arm", "log_loss")  # written as means over the rounds so far
FINE = 5  # marks per point of the score table: the path of one weight is drawn finer
BLOCK = 250
"""Rounds whose random numbers are drawn together, from streams that the seed and the round before them name, so that
neither the points of the score table nor the horizon changes what is drawn."""


class Engine(ABC):
    """Common parts: marks, schedules and the history, whose values ``(V, S)`` are read at each mark."""

    checkpointed = ("state", "history")
    discount: Array
    """Decay factors of the rounds of the block entered last, ``(V, T)``."""

    def __init__(self, job: Job, rounds: int, origin: str) -> None:
        self.job = job
        self.rounds = rounds
        self.origin = origin
        points = np.unique(np.linspace(0, rounds, job.points + 1).round().astype(np.int64))
        self.points = points[1:]
        """Rounds at which a curve of the score table has a point."""
        self.marks = np.unique(np.linspace(0, rounds, FINE * job.points + 1).round().astype(np.int64)[1:])
        """The points and more between them: rounds at which curves are read."""
        self.schedules = [schedules.parse(text) for text in job.method.schedules]
        self.guards = np.array([schedules.GUARDS.index(schedule.guard) for schedule in self.schedules])
        self.shape = (len(self.schedules), len(job.seeds))
        method = job.method
        self.choice = Choice(method.posterior_scale, method.confidence_width, method.epsilon, method.oracle)
        self.state: Arrays = {"totals": np.zeros((*self.shape, TOTALS))}
        self.history = History(len(job.seeds))

    @abstractmethod
    def enter(self, start: int, stop: int, marks: NDArray[np.int64]) -> None:
        """Make what rounds ``start + 1 .. stop`` need, for all schedules; `marks` are those among them."""

    def arrays(self, *names: str) -> Any:
        """Arrays of the state as a tuple, for a kernel."""
        return tuple(self.state[name] for name in names)

    @abstractmethod
    def play(self, begin: int, end: int) -> None:
        """Play rounds `begin` to `end` of the block entered last, counted from 0 within it.

        The arrays are the engine's own, so the kernels are called without another look at them.
        """

    def inside(self, begin: int, end: int) -> None:
        """Raise InputError unless rounds `begin` to `end` are in the block."""
        rounds = self.discount.shape[1]
        if not 0 <= begin <= end <= rounds:
            raise InputError("play", expected=f"rounds from 0 to {rounds}", found=f"{begin} to {end}")

    def read(self, place: int) -> dict[str, Array]:
        """Curve values after mark number `place` of the block, each ``(V, S)``; shares and losses are sums so far."""
        totals = self.state["totals"]
        return {"regret": totals[..., REGRET], "best_arm": totals[..., BEST], "log_loss": totals[..., LOG_LOSS]}

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.rounds // BLOCK)

    def after(self, blocks: int) -> int:
        """Rounds that so many blocks have."""
        return min(BLOCK * blocks, self.rounds)

    def advance(self, block: int) -> None:
        """Play a block and record the curves at its marks."""
        start, stop = self.after(block), self.after(block + 1)
        marks = self.marks[(self.marks > start) & (self.marks <= stop)]
        self.enter(start, stop, marks)
        begin = 0
        for place, mark in enumerate(marks.tolist()):
            self.play(begin, mark - start)
            begin = mark - start
            read = self.read(place)
            self.history.add(mark, {name: x / mark if name in MEANS else x for name, x in read.items()})
        self.play(begin, stop - start)

    def check_finite(self, block: int) -> None:
        """Raise NotFinite if a block left a non-finite value in the state or the curves."""
        for name, values in {**self.history.last(), **self.state}.items():
            if values.dtype == np.float64 and values.shape[:2] == self.shape:
                check_finite(name, values.swapaxes(0, 1), self.after(block + 1), self.job.seeds, "round")

    def gammas(self, start: int, stop: int) -> Array:
        """Decay factors of rounds ``start + 1 .. stop``, ``(V, T)``."""
        rounds = np.arange(start + 1, stop + 1)
        return np.stack([decay(schedule, rounds) for schedule in self.schedules])

    def draws(self, what: str, start: int, *shape: int) -> tuple[Array, Array]:
        """Normals ``(S, *shape)`` and uniforms ``(S, T, 2)`` of the policy, the same for every schedule."""
        generators = [stream(self.job.root_seed, "dynts", what, seed, start) for seed in self.job.seeds]
        normals = np.stack([rng.standard_normal(shape) for rng in generators])
        return normals, np.stack([rng.random((shape[0], 2)) for rng in generators])


class DisjointBandit(Engine):
    """One posterior per arm in a simulated world."""

    def __init__(self, job: Job, task: Simulation) -> None:
        super().__init__(job, job.horizon, "simulated")
        self.task = task
        d, arms, prior = task.dim, task.arms, job.prior_variance
        memory, walk = 1.0, 0.0
        if job.method.filter == "kalman" and task.drift in ("mean_reverting", "reset"):
            memory = 1.0 - 1.0 / task.period  # a reset every n rounds forgets at the rate 1/n
            walk = 1.0 - memory**2
        elif job.method.filter == "kalman" and task.drift == "random_walk":
            walk = 1.0 / task.period
        self.motion = Motion(job.method.clock == "pull", prior, memory, walk)
        self.diagonal = np.cumsum(np.arange(1, d + 1)) - 1
        packed = np.zeros((*self.shape, d * (d + 1) // 2, arms))
        packed[:, :, self.diagonal, :] = prior
        window = max(schedule.window for schedule in self.schedules)
        self.state |= {
            "weights": initial_weights(task, job.root_seed, job.seeds),
            "mu": np.zeros((*self.shape, d, arms)),
            "packed": packed,
            "scale": np.ones((*self.shape, arms)),
            "kept": np.ones((*self.shape, arms)),
            "ring_arm": np.zeros((*self.shape, window), dtype=np.int64),
            "ring_site": np.zeros((*self.shape, window, d + 2)),
        }
        self.windows = np.array([schedule.window for schedule in self.schedules], dtype=np.int64)

    def enter(self, start: int, stop: int, marks: NDArray[np.int64]) -> None:
        """See `Engine.enter`."""
        job, state = self.job, self.state
        world, state["weights"] = simulate(self.task, job.root_seed, job.seeds, state["weights"], start, stop, marks)
        draws = self.draws("policy", start, stop - start, self.task.arms)
        self.before, self.weights, self.discount = start, world.weights, self.gammas(start, stop)
        self.block = (world.features, world.probabilities, world.rewards, *draws, self.discount)

    def play(self, begin: int, end: int) -> None:
        """See `Engine.play`."""
        self.inside(begin, end)
        settings = self.windows, self.guards, self.choice, self.motion
        state = self.arrays("mu", "packed", "scale", "kept", "ring_arm", "ring_site", "totals")
        play_disjoint.unchecked(self.before, begin, end, self.block, *settings, state)

    def read(self, place: int) -> dict[str, Array]:
        """See `Engine.read`; the path is that of the second weight of the first arm."""
        state, weights = self.state, self.weights[:, place]
        away = state["mu"] - np.swapaxes(weights, 1, 2)[None]
        variance = state["scale"][..., None, :] * state["packed"][:, :, self.diagonal, :]
        return super().read(place) | {
            "tracking_error": (away**2).sum(axis=2).mean(axis=2),
            "posterior_variance": variance.mean(axis=(2, 3)),
            "path_weight": np.broadcast_to(weights[:, 0, 1], self.shape),
            "path_mean": state["mu"][:, :, 1, 0],
            "path_sd": np.sqrt(variance[:, :, 1, 0]),
        }


class ContextFreeBandit(Engine):
    """Counts per arm in a simulated world."""

    def __init__(self, job: Job, task: Simulation) -> None:
        super().__init__(job, job.horizon, "simulated")
        self.task = task
        self.state |= {
            "weights": initial_weights(task, job.root_seed, job.seeds),
            "counts": np.zeros((*self.shape, task.arms, 2)),
        }

    def enter(self, start: int, stop: int, marks: NDArray[np.int64]) -> None:
        """See `Engine.enter`."""
        job, state = self.job, self.state
        self.world, state["weights"] = simulate(
            self.task, job.root_seed, job.seeds, state["weights"], start, stop, marks
        )
        self.discount = self.gammas(start, stop)
        # Beta draws have no fixed number of random numbers: one generator per schedule and seed, the same for
        # every schedule, lives as long as the block.
        self.generators = [
            [stream(job.root_seed, "dynts", "counts", seed, start) for seed in job.seeds] for _ in self.schedules
        ]

    def play(self, begin: int, end: int) -> None:
        """See `Engine.play`."""
        self.inside(begin, end)
        for variant, seed in np.ndindex(*self.shape):
            block = self.world.probabilities[seed], self.world.rewards[seed], self.discount[variant]
            policy = self.choice.confidence_width, self.generators[variant][seed]
            counts, totals = self.state["counts"][variant, seed], self.state["totals"][variant, seed]
            play_context_free.unchecked(begin, end, *block, *policy, counts, totals)


def shared_state(shape: tuple[int, int], mean: Array, root: Array) -> Arrays:
    """A posterior ``N(mean, root rootᵀ)`` for each schedule and seed."""
    each = {"mu": np.tile(mean, (*shape, 1)), "root": np.tile(root, (*shape, 1, 1))}
    return each | {"scale": np.ones(shape), "kept": np.ones(shape)}


class SharedBandit(Engine):
    """One posterior on joint features, in a simulated world or over real headline tests."""

    def __init__(self, job: Job, task: Simulation | HeadlineBandit) -> None:
        self.headlines = Headlines.load(job) if isinstance(task, HeadlineBandit) else None
        if self.headlines is not None and isinstance(task, HeadlineBandit):
            super().__init__(job, len(self.headlines.first) * task.visitors, self.headlines.origin)
            mean, prior = self.headlines.prior(job)
        elif isinstance(task, Simulation):
            super().__init__(job, job.horizon, "simulated")
            mean, prior = np.zeros(task.dim), np.full(task.dim, job.prior_variance)
            self.state["weights"] = initial_weights(task, job.root_seed, job.seeds)
        self.task = task
        self.diagonal = job.method.filter == "diagonal"
        root = (1.0 / prior)[None] if self.diagonal else np.diag(np.sqrt(prior))
        self.prior = (mean, prior)
        self.state |= shared_state(self.shape, mean, root)

    def enter(self, start: int, stop: int, marks: NDArray[np.int64]) -> None:
        """See `Engine.enter`."""
        job, state, length = self.job, self.state, stop - start
        if isinstance(self.task, Simulation):
            world, state["weights"] = simulate(
                self.task, job.root_seed, job.seeds, state["weights"], start, stop, marks
            )
            first = np.arange(length) * self.task.arms
            count = np.full(length, self.task.arms)
            self.weights = world.weights
            shown = world.features, first, count, world.probabilities, world.rewards
        elif self.headlines is not None:
            test = np.arange(start, start + length) // self.task.visitors
            first, count = self.headlines.first[test], self.headlines.count[test]
            names = ("dynts", self.task.name, "rewards")
            rewards = np.stack([stream(job.root_seed, *names, seed, start).random(length) for seed in job.seeds])
            shown = self.headlines.x[None], first, count, self.headlines.rate[None], rewards
        self.discount = self.gammas(start, stop)
        self.block = (*shown, *self.draws("policy", start, length, state["mu"].shape[-1]), self.discount)

    def play(self, begin: int, end: int) -> None:
        """See `Engine.play`."""
        self.inside(begin, end)
        state = self.arrays("mu", "root", "scale", "kept", "totals")
        play_shared.unchecked(begin, end, self.block, self.choice, self.guards, self.prior, self.diagonal, state)

    def read(self, place: int) -> dict[str, Array]:
        """See `Engine.read`."""
        state = self.state
        if self.headlines is not None:
            return super().read(place)
        root, scale = state["root"], state["scale"][..., None]
        variance = 1.0 / root[..., 0, :] if self.diagonal else scale * (root**2).sum(axis=-1)
        weights = self.weights[:, place, 0]
        return super().read(place) | {
            "tracking_error": ((state["mu"] - weights[None]) ** 2).sum(axis=-1),
            "posterior_variance": variance.mean(axis=-1),
            "path_weight": np.broadcast_to(weights[:, 1], self.shape),
            "path_mean": state["mu"][..., 1],
            "path_sd": np.sqrt(variance[..., 1]),
        }


class Tracker(Engine):
    """Predicts each headline's click rate before it is seen, then learns from its clicks."""

    def __init__(self, job: Job, task: Tracking) -> None:
        self.headlines = Headlines.load(job)
        super().__init__(job, len(self.headlines.rate), self.headlines.origin)
        self.impressions = task.impressions
        self.prior = mean, variance = self.headlines.prior(job)
        self.state = shared_state(self.shape, mean, np.diag(np.sqrt(variance))) | {"loss": np.zeros(self.shape)}
        self.clicks = self.headlines.clicks(job, self.impressions)

    def enter(self, start: int, stop: int, marks: NDArray[np.int64]) -> None:
        """See `Engine.enter`."""
        self.before, self.discount = start, self.gammas(start, stop)

    def play(self, begin: int, end: int) -> None:
        """See `Engine.play`."""
        self.inside(begin, end)
        rows = slice(self.before + begin, self.before + end)
        shown = (self.headlines.x[rows], self.clicks[:, rows], float(self.impressions))
        state = self.arrays("mu", "root", "scale", "kept", "loss")
        track.unchecked(*shown, self.discount[:, begin:end], self.guards, self.prior, state)

    def read(self, place: int) -> dict[str, Array]:
        """See `Engine.read`: log loss per impression, times 1000."""
        return {"log_loss": self.state["loss"] * 1000.0}


def engine(job: Job) -> Engine:
    """The engine of a job. Raises InputError if its data file is not what it should be."""
    match job.task:
        case Simulation(shared=True):
            return SharedBandit(job, job.task)
        case Simulation():
            kind = ContextFreeBandit if job.method.filter in ("beta", "ucb1") else DisjointBandit
            return kind(job, job.task)
        case HeadlineBandit():
            return SharedBandit(job, job.task)
        case Tracking():
            return Tracker(job, job.task)
