"""The methods with the calls of Stable-Baselines3: ``PPO(env, seed=0).learn(10_000)``, `predict`, `save`, `load`.

A method makes the learner of a training job and runs its iterations: there is one implementation of each update. An
environment is an id, an environment of Gymnasium, a function that makes one, or a vector environment.
"""

import secrets
import shutil
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium
import numpy as np
from numpy.typing import NDArray

from septet import sampler
from septet.arrays import fit
from septet.config import validate
from septet.errors import InputError, NoState
from septet.files import replacing_folder
from septet.history import History
from septet.model_files import load_arrays, save_arrays
from septet.rl import train
from septet.rl.config import BaseJob, Job
from septet.rl.models import Environment, chosen, write_model
from septet.rl.policies import Policy
from septet.sampler.own_env import NAMESPACE, OwnEnvironment
from septet.sampler.spaces import Actions, Observations
from septet.sealed import read_sealed_json, write_json
from septet.seeding import stream
from septet.state import load_state_dict, state_dict

STATE, ABOUT = "training.safetensors", "method.json"
OPEN = 1 << 62
"""Steps of a job whose length `learn` says."""
OF_A_JOB = ("root_seed", "environments", "samplers", "mode", "threads")


class Method(ABC):
    """A method on an environment, one seed or several in lockstep.

    Args:
        env: see the module.
        seed: of everything random; drawn if neither this nor `seeds` is given.
        seeds: several seeds, which train together; observations and actions of `predict` then have them as first axis.
        settings: of the method and its job, by their names in the package's `config`.

    Attributes:
        seeds: the seeds.
        observation_space, action_space: of the environment.
        num_timesteps: environment steps that each seed has taken at least, in the last `learn`.
        history: scores of the iterations by seed (`septet.history.History`).

    Raises:
        InputError: an unknown setting, an environment that cannot be made, or spaces that the method does not have.
    """

    def __init__(
        self, env: Any, *, seed: int | None = None, seeds: Sequence[int] | None = None, **settings: Any
    ) -> None:
        if seeds is not None and seed is not None:
            raise InputError(f"{type(self).__name__}: seeds", expected="seed or seeds", found="both")
        one = secrets.randbits(31) if seed is None else seed
        self.seeds = [one] if seeds is None else list(seeds)
        self.environment, self.settings = OwnEnvironment.of(env), settings
        if self.environment.count is not None:
            settings = {"environments": self.environment.count, **settings}
        self.observation_space, self.action_space = spaces_of(self.environment.name)
        self._observations = Observations.of(self.environment.name, self.observation_space)
        self._actions = Actions.of(self.environment.name, self.action_space)
        self.learner = self._learner(self.environment.name, self.seeds, settings)
        self.history, self.iteration, self.num_timesteps = History(len(self.seeds)), 0, 0
        self._draws = stream(0, "predict", *self.seeds)
        self._told = False

    @abstractmethod
    def _learner(self, environment: str, seeds: list[int], settings: Mapping[str, Any]) -> Any:
        """The learner of a job with these settings."""

    def learn(self, total_timesteps: int, callback: Any = None, reset_num_timesteps: bool = True) -> Self:
        """Train; called again, training goes on.

        Args:
            total_timesteps: environment steps of each seed, rounded up to whole iterations.
            callback: ``callback(locals, globals)`` after each iteration, where ``locals["self"]`` is this object and
                false stops, or an object with the methods of Stable-Baselines3's `BaseCallback`.
            reset_num_timesteps: count `num_timesteps` from 0.

        Raises:
            NotFinite: a loss, a parameter or a value of the environment is not finite.
        """
        more = fit(f"{type(self).__name__}: total_timesteps", "int 1", total_timesteps)
        self.environment.register()
        self._tell()
        self.num_timesteps = 0 if reset_num_timesteps else self.num_timesteps
        target = self.num_timesteps + more
        known: dict[str, Any] = {"self": self, "total_timesteps": more, "scores": {}}
        called = _Called(callback, self, known)
        while self.num_timesteps < target:
            found = self.learner.iterate(self.iteration)
            self.iteration += 1
            self.num_timesteps += int(found.steps.min())
            self.history.add(self.history.last_steps + found.steps.astype(np.int64), found.scores, found.seconds)
            known.update(iteration=self.iteration, scores=found.scores)
            if not called.goes_on():
                break
        called.end()
        return self

    def predict(
        self,
        observation: Any,
        state: NDArray[np.int64] | None = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, NDArray[np.int64] | None]:
        """Actions within the bounds of the action space.

        Args:
            observation: one, or n of them on a first axis; with several seeds, on an axis before that, one for each.
            state: what the last call gave: steps of the episodes, for a method that observes the time.
            episode_start: where an episode begins.
            deterministic: the mean action, without noise.

        Returns:
            The action or actions, and the state, None for most methods.

        Raises:
            InputError: an observation of another shape.
        """
        rows, leading = self._rows(observation)
        policy: Policy = self.learner.acting()
        elapsed = None
        if policy.shape.time_feature:
            elapsed = np.zeros(rows.shape[:2], np.int64) if state is None else state
            if episode_start is not None:
                elapsed = np.where(np.reshape(episode_start, elapsed.shape), 0, elapsed)
        noise = None
        if not deterministic and policy.shape.kind == "gaussian":
            noise = self._draws.standard_normal((*rows.shape[:2], policy.shape.sizes[-1]))
        control = policy.bounded(policy.act(rows, elapsed, noise))
        given = np.asarray(self._actions.fit(control.reshape(-1, control.shape[-1])))
        shaped = given.reshape((*leading, *(self.action_space.shape or ())))
        return shaped, None if elapsed is None else elapsed + 1

    def _rows(self, observation: Any) -> tuple[NDArray[np.float64], tuple[int, ...]]:
        """Observations ``(S, n, O)``, and the axes that they had before those of the space."""
        space, seeds = self.observation_space, len(self.seeds)
        where = f"{type(self).__name__}: predict"
        if isinstance(space, gymnasium.spaces.Box):
            array = np.asarray(observation, np.float64)
            own = len(space.shape)
            leading = array.shape[: array.ndim - own]
            fits = array.ndim >= own and array.shape[array.ndim - own :] == space.shape
        else:
            many = isinstance(observation, list | np.ndarray) and not space.contains(observation)
            flat = [self._observations.flat(one) for one in (observation if many else [observation])]
            array, leading, fits = np.array(flat), (len(flat),) if many else (), True
        several = seeds > 1
        if not fits or len(leading) > 1 + several or (several and leading[:1] != (seeds,)):
            first = f"{seeds} seeds, " if several else ""
            expected = f"an observation of shape {space.shape}, or more of them ({first}n)"
            raise InputError(where, expected=expected, found=f"shape {array.shape}")
        return array.reshape(seeds, -1, self._observations.size), leading

    @property
    def exact(self) -> str | None:
        """Why training that resumes would not be the same; None if it would."""
        try:
            state_dict(self.learner)
        except NoState as error:
            return str(error)
        return None

    def _tell(self) -> None:
        """Say before training, once, that a saved method will not resume exactly."""
        if not self._told and (why := self.exact) is not None:
            warnings.warn(f"a saved {type(self).__name__} will not resume exactly: {why}", stacklevel=3)
        self._told = True

    def save(self, path: str | Path) -> None:
        """Save to a folder: the policies, and the state of the training (`septet.rl.models` says more of the files)."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        state = state_dict({"learner": self.learner, "history": self.history}, partial=True)
        about = {
            "method": type(self).__name__,
            "environment": self.environment.name,
            "seeds": self.seeds,
            "settings": self.settings,
            "iteration": self.iteration,
            "num_timesteps": self.num_timesteps,
            "exact": self.exact is None,
        }
        policy: Policy = self.learner.acting()
        label = type(self).__name__
        latest = self.history.last().get(self.learner.judged_by, np.full(len(self.seeds), np.nan))
        environment = Environment(name=self.environment.name).model_dump(mode="json")
        card = {
            "paper": "", "task": self.environment.name, "environment": environment,
            "methods": [label] * len(self.seeds), "seeds": self.seeds, "settings": {label: self.settings},
            "judged_by": self.learner.judged_by, "run": None,
            "kinds": {"last": chosen(self.history.last_steps, latest)},
        }  # fmt: skip
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            with replacing_folder(path, scratch) as folder:
                write_model(folder, card, {"last": policy})
                write_json(folder / ABOUT, {**about, "sha256": save_arrays(folder / STATE, state)})
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    @classmethod
    def load(cls, path: str | Path, env: Any = None) -> Self:
        """Load what `save` wrote, to use or to train further.

        Args:
            path: the folder.
            env: the environment; by default the one that it had, if that is an id.

        Raises:
            InputError: no such folder, a file that was changed, another method, or an environment of other sizes.
        """
        folder = Path(path)
        about = read_sealed_json(folder / ABOUT, "a method that was saved")
        if about["method"] != cls.__name__:
            raise InputError(str(folder), expected=f"a saved {cls.__name__}", found=about["method"])
        if env is None and about["environment"].startswith(f"{NAMESPACE}/"):
            raise InputError(f"{cls.__name__}.load: env", expected="the environment, which was your own", found="none")
        state = load_arrays(folder / STATE, about["sha256"], ABOUT)
        made = cls(about["environment"] if env is None else env, seeds=about["seeds"], **about["settings"])
        try:
            whole = {"learner": made.learner, "history": made.history}
            load_state_dict(whole, state, partial=not about["exact"])
        except (TypeError, KeyError) as error:
            expected = f"an environment as the saved method had, {about['environment']}"
            raise InputError(f"{cls.__name__}.load: env", expected=expected, found=str(error)) from None
        made.iteration, made.num_timesteps = about["iteration"], about["num_timesteps"]
        if not about["exact"]:
            made.learner.restart(made.iteration)
        return made

    def close(self) -> None:
        """Close the environments."""
        self.learner.close()


class _Called:
    """A callback, a function or an object as Stable-Baselines3's, or none."""

    def __init__(self, callback: Any, method: Method, known: dict[str, Any]) -> None:
        self._callback, self._known = callback, known
        if callback is not None and not callable(callback) and not hasattr(callback, "on_step"):
            expected = "a function of (locals, globals), or an object with on_step"
            raise InputError("learn: callback", expected=expected, found=callback)
        if hasattr(callback, "on_step"):
            callback.init_callback(method)
            callback.on_training_start(known, globals())
            callback.on_rollout_start()

    def goes_on(self) -> bool:
        """Call it after an iteration; whether training goes on."""
        callback = self._callback
        if callback is None:
            return True
        if not hasattr(callback, "on_step"):
            return callback(self._known, globals()) is not False
        callback.update_locals(self._known)
        callback.on_rollout_end()
        keeps = callback.on_step() is not False
        if keeps:
            callback.on_rollout_start()
        return keeps

    def end(self) -> None:
        """Say that training has ended."""
        if hasattr(self._callback, "on_training_end"):
            self._callback.on_training_end()


def spaces_of(environment: str) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
    """Observation and action space. Raises InputError for spaces that samplers do not have."""
    if environment in sampler.TASKS:
        batch = sampler.make(environment, seeds=[0], environments=1)
        seen = gymnasium.spaces.Box(-np.inf, np.inf, (batch.observation_size,), np.float64)
        acts = gymnasium.spaces.Box(batch.action_low.astype(np.float32), batch.action_high.astype(np.float32))
        batch.close()
        return seen, acts
    from septet.sampler.gymnasium_batch import GymnasiumBatch

    batch = GymnasiumBatch(environment, [0], 1, options={}, listing=list(sampler.TASKS))
    try:
        return batch.spaces
    finally:
        batch.close()


class OfAJob(Method):
    """A method whose job is a `septet.rl.config.BaseJob`; settings are of the method, of its task, or of the job."""

    algorithm: ClassVar[str]
    job: ClassVar[type[BaseJob]] = Job
    build: ClassVar[Callable[[Any], Any]] = staticmethod(train.build)

    def _learner(self, environment: str, seeds: list[int], settings: Mapping[str, Any]) -> Any:
        given = dict(settings)
        of_task = {name: given.pop(name) for name in ("actions",) if name in given}
        of_job = {name: given.pop(name) for name in OF_A_JOB if name in given}
        job = {
            "method": {"algorithm": self.algorithm, **given},
            "task": {"environment": environment, **of_task},
            "seeds": seeds,
            "steps": OPEN,
            **of_job,
        }
        return type(self).build(validate(self.job, job, type(self).__name__))


class VPG(OfAJob):
    """Policy gradient with a learned baseline; settings: `septet.rl.config.VPG`."""

    algorithm = "vpg"


class TRPO(OfAJob):
    """Trust-region policy optimisation; settings: `septet.rl.config.TRPO`."""

    algorithm = "trpo"


class PPO(OfAJob):
    """Proximal policy optimisation; settings: `septet.rl.config.PPO`."""

    algorithm = "ppo"


class DDPG(OfAJob):
    """Deep deterministic policy gradient; settings: `septet.rl.config.DDPG`."""

    algorithm = "ddpg"
