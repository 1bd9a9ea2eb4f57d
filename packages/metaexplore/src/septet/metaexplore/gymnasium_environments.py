"""Environments of a purpose that Gymnasium steps: a user's own among them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.metaexplore.environments import Environments
from septet.sampler.batch import State
from septet.sampler.gymnasium_batch import GymnasiumBatch


class GymnasiumEnvironments(Environments, GymnasiumBatch):
    """See `septet.metaexplore.environments.Environments`."""

    @property
    def state(self) -> State:
        """With the round, which names the starts from which episodes are played again."""
        return {**super().state, "round": np.array(self._round), "first": self._first.copy()}

    @state.setter
    def state(self, state: Mapping[str, NDArray[Any]]) -> None:
        own = dict(state)
        self._round, self._first = int(own.pop("round")), np.array(own.pop("first"))
        GymnasiumBatch.state.fset(self, own)  # type: ignore[attr-defined]
