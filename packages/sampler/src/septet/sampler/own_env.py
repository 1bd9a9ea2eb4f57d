"""A user's own environment under a name that Gymnasium knows: jobs, sampler processes and models carry the name."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, registry

from septet.errors import InputError

NAMESPACE = "own"


class Factories:
    """Makes a user's environments: the entry point of their registered name.

    Args:
        functions: of each environment of a seed, or one for all.
    """

    def __init__(self, functions: Sequence[Callable[[], Any]]) -> None:
        self.functions = list(functions)

    def __call__(self, member: int = 0, **options: Any) -> Any:
        """Make environment number `member` of a seed."""
        return self.functions[member % len(self.functions)](**options)

    def __deepcopy__(self, memo: Any) -> "Factories":
        """Itself: Gymnasium copies what it has registered with every environment that it makes."""
        return self


class Copies:
    """Makes copies of an environment as it was given; the given one is never stepped."""

    def __init__(self, env: Any) -> None:
        self._env = _copy(env)

    def __call__(self, **options: Any) -> Any:
        """A copy."""
        if options:
            where = type(self._env).__name__
            raise InputError(where, expected="no options for an environment that exists", found=options)
        return _copy(self._env)


@dataclass(frozen=True)
class OwnEnvironment:
    """What a user gave: its name, and how many environments of a seed it is, none if that is open."""

    name: str
    factories: Factories | None
    count: int | None

    @classmethod
    def of(cls, env: Any) -> "OwnEnvironment":
        """From an id, an environment, a function that makes one, or a vector environment.

        A vector environment stands for its functions (`env_fns`), or for copies of its environments (`envs`).

        Raises:
            InputError: something else, or an environment that cannot be made or copied.
        """
        if isinstance(env, str):
            return cls(env, None, None)
        if hasattr(env, "num_envs"):
            functions = getattr(env, "env_fns", None) or [Copies(one) for one in getattr(env, "envs", [])]
            if len(functions) != env.num_envs:
                expected = "a vector environment with env_fns or envs, or a function that makes one environment"
                raise InputError("env", expected=expected, found=type(env).__name__)
            count = int(env.num_envs)
        elif isinstance(env, gymnasium.Env):
            functions, count = [Copies(env)], None
        elif callable(env):
            functions, count = [env], None
        else:
            expected = "an id, an environment of Gymnasium, a function that makes one, or a vector environment"
            raise InputError("env", expected=expected, found=env)
        made = cls(f"{NAMESPACE}/{_label(functions[0])}-v0", Factories(functions), count)
        made.register()
        return made

    def register(self) -> None:
        """Make the name known to Gymnasium, in place of another environment of the same class."""
        if self.factories is not None:
            spec = EnvSpec(id=self.name, entry_point=self.factories, disable_env_checker=True, order_enforce=False)
            registry[self.name] = spec


def member_options(task: str, member: int) -> dict[str, int]:
    """The option by which an environment of a user knows its number; none of others."""
    spec = registry.get(task)
    return {"member": member} if spec is not None and isinstance(spec.entry_point, Factories) else {}


def _label(function: Callable[[], Any]) -> str:
    """Name of the class of the environment that a function makes: the same in every process."""
    try:
        env = function()
        if not isinstance(env, gymnasium.Env):
            raise TypeError(f"{type(env).__name__} is no gymnasium.Env")
        name = type(env.unwrapped).__name__
        env.close()
    except Exception as error:
        expected = "a function that makes an environment of Gymnasium"
        raise InputError("env", expected=expected, found=f"{type(error).__name__}: {error}") from error
    return name


def _copy(env: Any) -> Any:
    try:
        return copy.deepcopy(env)
    except Exception as error:
        expected = "an environment that can be copied, or a function that makes one"
        raise InputError("env", expected=expected, found=f"{type(error).__name__}: {error}") from error
