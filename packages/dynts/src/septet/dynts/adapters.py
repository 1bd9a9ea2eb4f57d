"""The agent behind the verbs of Open Bandit Pipeline and of MABWiser, for code that is written for either."""

import importlib
from collections.abc import Hashable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet.dynts.agent import LogisticThompson
from septet.dynts.arguments import array_of, whole
from septet.errors import InputError


class OpenBanditPolicy:
    """A contextual policy for `obp.simulator.run_bandit_simulation`.

    Args:
        dim: numbers in a context.
        n_actions: actions, each with weights of its own.
        len_list: actions that a round recommends; those of one draw, best first.
        policy_name: name in tables; by default with the decay.
        random_state: seed of the draws; `initialize` starts with it again.
        settings: `decay`, `prior_variance` and the other settings of `LogisticThompson`.

    Raises:
        InputError: a parameter is out of range.
    """

    def __init__(
        self,
        dim: int,
        n_actions: int,
        len_list: int = 1,
        *,
        policy_name: str | None = None,
        random_state: int | None = None,
        **settings: Any,
    ) -> None:
        self.dim, self.n_actions, self.len_list = dim, n_actions, whole("len_list", len_list, 1)
        self._settings = {**settings, "seed": random_state}
        self.initialize()
        if self.len_list > self.n_actions:
            raise InputError("len_list", expected=f"at most n_actions, {n_actions}", found=len_list)
        self.policy_name = policy_name or f"logistic_thompson_{self.agent.decay:g}"

    @property
    def policy_type(self) -> Any:
        """`PolicyType.CONTEXTUAL` of the installed obp."""
        return importlib.import_module("obp.policy.policy_type").PolicyType.CONTEXTUAL

    def initialize(self) -> None:
        """Forget everything and start with the seed again."""
        self.agent = LogisticThompson(self.dim, self.n_actions, **self._settings)

    def select_action(self, context: ArrayLike) -> NDArray[np.int64]:
        """Return the actions of a round, shape ``(len_list,)``, for a context ``(1, dim)``."""
        return np.array(self.agent.rank(np.ravel(context), self.len_list))

    def update_params(self, action: int, reward: float, context: ArrayLike) -> None:
        """Learn from one click or no click, for a context ``(1, dim)``."""
        self.agent.update(np.ravel(context), reward, action)


class LabelledArms:
    """The agent with MABWiser's verbs: arms have labels, and rounds come as lists of decisions, rewards and contexts.

    Rounds pass in `predict`, one for each row, and in `fit`, one for each row of the log; `partial_fit` tells the
    rewards of rounds that `predict` has counted already.

    Args:
        arms: labels of the arms, none twice.
        seed: seed of the draws; `fit` starts with it again.
        settings: `decay`, `prior_variance` and the other settings of `LogisticThompson`.

    Raises:
        InputError: a label occurs twice; parameters are checked in the first `fit`, which knows the contexts' size.
    """

    def __init__(self, arms: Sequence[Hashable], *, seed: int | None = None, **settings: Any) -> None:
        self.arms = list(arms)
        if len(set(self.arms)) != len(self.arms) or not self.arms:
            raise InputError("arms", expected="at least one label, none twice", found=arms)
        self._settings = {**settings, "seed": seed}
        self.agent: LogisticThompson | None = None

    def fit(self, decisions: ArrayLike, rewards: ArrayLike, contexts: ArrayLike) -> Self:
        """Learn from scratch from a log, its oldest round first.

        Args:
            decisions: labels, ``(B,)``; rewards: 0 or 1, ``(B,)``; contexts: ``(B, D)``.

        Raises:
            InputError: wrong shapes, an unknown label or reward. The agent then is what it was before.
        """
        x = array_of(contexts, "contexts", (None, None))
        if len(x) == 0:
            raise InputError("contexts", expected="at least one row", found=f"shape {x.shape}")
        agent = LogisticThompson(x.shape[1], len(self.arms), **self._settings)
        for arm, reward, row in zip(*self._log(decisions, rewards, x), x, strict=True):
            agent.forget()
            agent.update(row, reward, arm)
        self.agent = agent
        return self

    def partial_fit(self, decisions: ArrayLike, rewards: ArrayLike, contexts: ArrayLike) -> Self:
        """Learn from the outcomes of rounds that `predict` chose for; before any `fit` this is `fit`.

        Raises:
            InputError: as `fit`.
        """
        if self.agent is None:
            return self.fit(decisions, rewards, contexts)
        x = array_of(contexts, "contexts", (None, self.agent.n_features))
        for arm, reward, row in zip(*self._log(decisions, rewards, x), x, strict=True):
            self.agent.update(row, reward, arm)
        return self

    def predict(self, contexts: ArrayLike) -> Any:
        """Choose an arm for each context: its label, or a list of labels if there are several contexts.

        Raises:
            InputError: another shape, or nothing was fitted.
        """
        agent, rows = self._rounds(contexts)
        labels = [self.arms[agent.choose(row)] for row in rows]
        return labels[0] if len(labels) == 1 else labels

    def predict_expectations(self, contexts: ArrayLike) -> Any:
        """Click probability of each label, or a list of these if there are several contexts; no round passes.

        Raises:
            InputError: as `predict`.
        """
        agent, rows = self._rounds(contexts)
        found = [dict(zip(self.arms, agent.click_probabilities(row).tolist(), strict=True)) for row in rows]
        return found[0] if len(found) == 1 else found

    def _rounds(self, contexts: ArrayLike) -> tuple[LogisticThompson, NDArray[Any]]:
        if self.agent is None:
            raise InputError("predict", expected="a call of fit first", found="none")
        given: Any = [contexts] if np.ndim(contexts) == 1 else contexts
        rows = array_of(given, "contexts", (None, self.agent.n_features))
        if len(rows) == 0:
            raise InputError("contexts", expected="at least one row", found=f"shape {rows.shape}")
        return self.agent, rows

    def _log(self, decisions: ArrayLike, rewards: ArrayLike, x: NDArray[Any]) -> tuple[list[int], list[float]]:
        """Numbers of the arms and rewards, checked as a whole before anything is learned."""
        labels, clicks = list(np.asarray(decisions).tolist()), array_of(rewards, "rewards", (len(x),))
        if len(labels) != len(x):
            raise InputError("decisions", expected=f"{len(x)} labels, one for each context", found=f"{len(labels)}")
        number = {label: arm for arm, label in enumerate(self.arms)}
        if unknown := [label for label in labels if label not in number]:
            raise InputError("decisions", expected=f"labels from {self.arms}", found=unknown[0])
        if not np.isin(clicks, (0, 1)).all():
            raise InputError("rewards", expected="0 or 1", found=f"{clicks[~np.isin(clicks, (0, 1))][0]:g}")
        return [number[label] for label in labels], clicks.tolist()
