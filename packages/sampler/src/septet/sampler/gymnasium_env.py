"""One environment of Gymnasium: made, seeded and stepped, with one line for whatever it does wrong."""

import copy
import inspect
import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np

from septet.errors import InputError
from septet.sampler.physics import Array
from septet.sampler.spaces import Actions, Observations, flag, number

TRIAL, SECONDS = 10, 1.0  # calls of an environment, and seconds of them, after which it is known what it draws from
MOST_HELD = 200  # values of an environment that are looked at for generators
LIBRARIES = {"builtins", "gymnasium", "mujoco", "numpy", "torch"}


class Environment:
    """An environment whose episodes start from seeds.

    Everything that it may draw from is seeded at a reset: `reset` itself, its spaces, generators that it keeps, and,
    as long as it draws from them, states of its own of the global generators of numpy and `random`.

    Args:
        task: an id that Gymnasium knows; options: of `gymnasium.make`.
        seed: of what it draws while it is made.

    Raises:
        InputError: an environment that cannot be made, or spaces that are not numbers.
    """

    def __init__(self, task: str, options: Mapping[str, Any], seed: int) -> None:
        self.task, self.seed, self._calls = task, seed, 0
        self.shared: Shared | None = Shared(seed)
        with self.shared:
            self.env = _made(task, options)
        try:
            self.actions = Actions.of(task, self._space("action_space"))
            self.observations = Observations.of(task, self._space("observation_space"))
        except BaseException:
            self.close()
            raise
        spec, layers = self.env.spec, self._layers()
        limits = [layer._max_episode_steps for layer in layers if isinstance(layer, gymnasium.wrappers.TimeLimit)]
        self.time_limit = (spec.max_episode_steps if spec is not None else None) or min(limits, default=0)
        self._legacy = [layer for layer in layers if not _accept(layer, "seed", "options")]

    def reset(self, seed: int) -> Array:
        """Start an episode from a seed; the first observation ``(obs,)``.

        Raises:
            InputError: a result that is not of the space, or an environment that cannot be reset.
        """
        self._seed(seed)
        try:
            found = self._call(self.env.reset, seed=seed)
        except Exception as error:
            if self._calls:
                raise
            raise InputError(f"{self.task}: reset", expected="a first observation", found=told(error)) from error
        if not isinstance(found, tuple) or len(found) != 2:
            raise InputError(f"{self.task}: reset", expected="(observation, info)", found=_kinds(found))
        return self.observations.flat(found[0])

    def step(self, action: Any) -> tuple[Array, float, bool, bool]:
        """Step by an action of `actions.fit`: observation ``(obs,)``, reward, terminated, truncated.

        Raises:
            InputError: a result that is not of the space, or not a number.
        """
        found = self._call(self.env.step, action)
        if not isinstance(found, tuple) or len(found) != 5:
            expected = "(observation, reward, terminated, truncated, info)"
            raise InputError(f"{self.task}: step", expected=expected, found=_kinds(found))
        seen, reward, terminated, truncated, _ = found
        return (
            self.observations.flat(seen),
            number(self.task, reward),
            flag(self.task, "terminated", terminated),
            flag(self.task, "truncated", truncated),
        )

    def _call(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        if self.shared is None:
            return function(*given, **named)
        with self.shared:
            found = function(*given, **named)
        self._calls += 1
        if self._calls > TRIAL and not self.shared.used:
            self.shared = None  # swapping takes longer than a step of a small environment
        return found

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _space(self, name: str) -> Any:
        try:
            return getattr(self.env, name)
        except Exception as error:
            raise InputError(f"{self.task}: {name.replace('_', ' ')}", expected="a space", found=told(error)) from error

    def _layers(self) -> list[Any]:
        """The environment and all wrappers below it."""
        layers = [self.env]
        while isinstance(layers[-1], gymnasium.Wrapper):
            layers.append(layers[-1].env)
        return layers

    def _seed(self, seed: int) -> None:
        """Seed all that the environment may draw from and that `reset` may not reach."""
        bare = self.env.unwrapped
        for layer in self._layers():
            for name in ("action_space", "observation_space"):
                with suppress(Exception):
                    space = getattr(layer, name)
                    if layer is bare and name not in vars(layer):  # of the class: other environments draw from it
                        setattr(layer, name, space := copy.deepcopy(space))
                    space.seed(seed)
            _reseed(layer, itertools.count(seed))
        for layer in self._legacy:
            if callable(old := getattr(type(layer), "seed", None)):
                with suppress(Exception):
                    old(layer, seed)
        with suppress(AttributeError):
            bare.np_random = np.random.default_rng(seed)  # a `reset` may leave it alone
        if self.shared is not None:
            self.shared.seed(seed)


class Shared:
    """States of the global generators that one environment has for itself: in place inside a ``with``.

    Attributes:
        used: whether anything was drawn from them.
    """

    def __init__(self, seed: int) -> None:
        self.used = False
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start them from a seed."""
        self._state: Any = (np.random.RandomState(seed).get_state(), random.Random(seed).getstate())

    def __enter__(self) -> None:
        """Put them in place."""
        self._kept = np.random.get_state(), random.getstate()  # noqa: NPY002
        np.random.set_state(self._state[0])  # noqa: NPY002
        random.setstate(self._state[1])

    def __exit__(self, *error: object) -> None:
        """Take them back."""
        state: Any = (np.random.get_state(), random.getstate())  # noqa: NPY002
        moved = state[1] != self._state[1] or state[0][2:] != self._state[0][2:]
        self.used = self.used or moved or not np.array_equal(state[0][1], self._state[0][1])
        self._state = state
        np.random.set_state(self._kept[0])  # noqa: NPY002
        random.setstate(self._kept[1])


class Trial:
    """The first steps of an environment, to be played again in another one: is it the same from the same seeds?

    Args:
        play: makes another environment like the first.
    """

    def __init__(self, play: Callable[[], Environment]) -> None:
        self._play = play
        self._calls: list[tuple[str, Any]] = []
        self._gave: list[Any] = []
        self._until: float | None = None

    def keep(self, kind: str, given: Any, found: Any) -> bool:
        """Keep a call of ``reset`` or ``step`` and what it gave; whether that is enough."""
        self._until = self._until or time.monotonic() + SECONDS
        self._calls.append((kind, copy.deepcopy(given)))
        self._gave.append(copy.deepcopy(found))
        return len(self._calls) > TRIAL or (len(self._calls) > 1 and time.monotonic() > self._until)

    def repeats(self) -> bool:
        """Whether another environment gives the same; also if there is nothing to compare, or it cannot be made."""
        if not any(kind == "step" for kind, _ in self._calls):
            return True
        try:
            other = self._play()
            try:
                again = [getattr(other, kind)(given) for kind, given in self._calls]
            finally:
                other.close()
        except Exception:
            return True
        return all(map(_same, self._gave, again))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return all(map(_same, one, other))
    return bool(np.array_equal(one, other, equal_nan=True))


def told(error: BaseException) -> str:
    """An exception in one line, with its kind: the text of a KeyError is a key."""
    return f"{type(error).__name__}: {error}"


def _made(task: str, options: Mapping[str, Any]) -> Any:
    settings = {"disable_env_checker": True, **options}  # what it checks is checked here, in one line
    if "time_limit" in settings:
        settings["max_episode_steps"] = settings.pop("time_limit")
    try:
        return gymnasium.make(task, **settings)
    except gymnasium.error.UnregisteredEnv:
        raise
    except Exception as error:
        raise InputError(task, expected="an environment that Gymnasium can make", found=told(error)) from error


def _accept(layer: Any, *names: str) -> bool:
    """Let `reset` be called with arguments that it does not have: they are dropped. Whether it has a seed."""
    reset: Callable[..., Any] = layer.reset
    try:
        parameters = inspect.signature(reset).parameters.values()
    except (TypeError, ValueError):
        return True
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return True
    known = {parameter.name for parameter in parameters}
    missing = [name for name in names if name not in known]
    if missing:

        def accepting(**given: Any) -> Any:
            return reset(**{name: value for name, value in given.items() if name not in missing})

        with suppress(AttributeError):
            layer.reset = accepting
    return "seed" in known


def _reseed(owner: Any, seeds: Iterator[int]) -> None:
    """Restart the generators that an object keeps, in itself or in what it holds, each from the next seed."""
    near: list[Any] = [owner]
    for one in near:  # grows: the nearest come first
        package = type(one).__module__.partition(".")[0]
        with suppress(Exception):
            if isinstance(one, np.random.Generator):
                kind: Any = type(one.bit_generator)
                one.bit_generator.state = kind(next(seeds)).state
            elif isinstance(one, np.random.RandomState | random.Random):
                one.seed(next(seeds))
            elif package == "torch" and hasattr(one, "manual_seed"):
                one.manual_seed(next(seeds))
            elif len(near) < MOST_HELD and (one is owner or package not in LIBRARIES):
                near.extend(itertools.islice(vars(one).values(), MOST_HELD))
            elif isinstance(one, list | tuple | dict) and len(near) < MOST_HELD:
                near.extend(itertools.islice(one.values() if isinstance(one, dict) else one, MOST_HELD))


def _kinds(found: Any) -> str:
    if isinstance(found, tuple):
        return f"{len(found)} values ({', '.join(type(value).__name__ for value in found)})"
    return f"{type(found).__name__}"
