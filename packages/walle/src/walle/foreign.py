"""Any other environment of Gymnasium, through its vector API: slower, and without a state to save."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from septet.errors import InputError, NoState
from septet.seeding import stream
from walle.batch import Batch, State, Step
from walle.physics import Array, silence
from walle.task import Flags


class _Named(gymnasium.Wrapper):
    """Start each episode from the random stream that a batch names."""

    def __init__(self, env: Any, batch: "GymnasiumBatch", row: int) -> None:
        super().__init__(env)
        self._batch, self._row, self._episode = batch, row, -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset with the next episode's stream as the environment's generator."""
        self._episode += 1
        self.unwrapped.np_random = stream(*self._batch.stream_name(self._row, self._episode))
        return self.env.reset(options=options)


class GymnasiumBatch(Batch):
    """Environments that Gymnasium steps one after the other.

    Observations are flattened. A discrete action is one number, rounded to the nearest choice.

    Args:
        task: an id that Gymnasium knows.
        seeds, environments, root, members: see `Batch`.
        options: keyword arguments of the environment, and ``time_limit``.
        listing: the tasks that walle steps itself, for the message about an unknown one.

    Raises:
        InputError: Gymnasium does not know or cannot make the environment, or its actions are of another kind.
    """

    def __init__(
        self,
        task: str,
        seeds: Sequence[int],
        environments: int,
        *,
        root: int = 0,
        members: tuple[int, int] | None = None,
        options: Mapping[str, Any],
        listing: Sequence[str],
    ) -> None:
        super().__init__(task, seeds, environments, root, members)
        silence()
        settings = dict(options)
        if "time_limit" in settings:
            settings["max_episode_steps"] = settings.pop("time_limit")

        def build(row: int) -> Any:
            return _Named(gymnasium.wrappers.FlattenObservation(gymnasium.make(task, **settings)), self, row)

        try:
            first = build(0)
        except gymnasium.error.UnregisteredEnv as error:
            expected = f"one of {', '.join(listing)}, or any Gymnasium id"
            raise InputError("task", expected=expected, found=f"{task} ({error})") from None
        except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
            raise InputError(task, expected="an environment that Gymnasium can make", found=str(error)) from None
        space = first.action_space
        self._discrete = isinstance(space, Discrete)
        if not (self._discrete or isinstance(space, Box)):
            raise InputError(f"{task}: actions", expected="numbers (Box) or a choice (Discrete)", found=str(space))
        self._space = space
        if self._discrete:
            low = np.array([space.start], dtype=np.float64)
            self.action_low, self.action_high = low, low + space.n - 1
        else:
            self.action_low = space.low.astype(np.float64).ravel()
            self.action_high = space.high.astype(np.float64).ravel()
        self.action_size, self.observation_size = len(self.action_low), int(np.prod(first.observation_space.shape))
        self.time_limit = first.spec.max_episode_steps or 0  # 0: none
        makers = [lambda: first, *(lambda row=row: build(row) for row in range(1, self.size))]
        self._vector = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
        self.elapsed = np.zeros(self.size, dtype=np.int64)

    def reset(self) -> Array:
        """See `Batch.reset`."""
        self.elapsed[:] = 0
        self._observation = np.array(self._vector.reset()[0], dtype=np.float64).reshape(self.size, -1)
        return self._observation

    def step(self, action: Array, active: Flags | None = None) -> Step:
        """See `Batch.step`."""
        action, active = self.checked(action, active)
        if not np.isfinite(action).all():
            raise self.not_finite(action)
        given: NDArray[Any] = action.reshape(self.size, *self._space.shape).astype(self._space.dtype)
        if self._discrete:
            choice = np.clip(np.rint(action[:, 0]), self.action_low, self.action_high)
            given = choice.astype(self._space.dtype)
        if active is not None and not active.all():
            return self._step_some(given, active)
        seen, reward, terminated, truncated, info = self._vector.step(given)
        observation = np.array(seen, dtype=np.float64).reshape(self.size, -1)
        ended = terminated | truncated
        self.elapsed += 1
        following = observation
        if ended.any():
            following = observation.copy()
            for row in np.flatnonzero(ended):
                following[row] = np.asarray(info["final_obs"][row], dtype=np.float64).ravel()
            self.elapsed[ended] = 0
        self._observation = observation
        return Step(observation, np.array(reward, dtype=np.float64), terminated.copy(), truncated.copy(), following)

    def _step_some(self, given: NDArray[Any], active: Flags) -> Step:
        """Step only some environments, which a vector has no call for; the others stand still."""
        observation, following = self._observation.copy(), self._observation.copy()
        reward, terminated, truncated = np.zeros(self.size), np.zeros(self.size, bool), np.zeros(self.size, bool)
        for row in np.flatnonzero(active):
            environment = self._vector.envs[row]
            seen, reward[row], terminated[row], truncated[row], _ = environment.step(given[row])
            observation[row] = following[row] = np.asarray(seen, dtype=np.float64).ravel()
            self.elapsed[row] += 1
            if terminated[row] or truncated[row]:
                observation[row] = np.asarray(environment.reset()[0], dtype=np.float64).ravel()
                self.elapsed[row] = 0
        self._observation = observation
        return Step(observation, reward, terminated, truncated, following)

    @property
    def state(self) -> State:
        """Refused: Gymnasium has no call for it."""
        self._refuse()

    @state.setter
    def state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NoState(f"{self.task}: state", expected="a task that walle steps itself", found="one of Gymnasium's")

    def close(self) -> None:
        """See `Batch.close`."""
        self._vector.close()
