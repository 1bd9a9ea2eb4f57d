"""Adam for a sampler: one second moment per weight for the centre, one shared by all log-scales (section 6)."""

from typing import NamedTuple

import torch
from torch import Tensor

from septet.rl.lockstep import square_root

B1, B2, EPS = 0.9, 0.999, 1e-8


class Moments(NamedTuple):
    """Adam's state: moments (S, Q) and number of steps (S,)."""

    first: Tensor
    second: Tensor
    steps: Tensor

    @classmethod
    def none(cls, phi: Tensor) -> "Moments":
        """Before the first step."""
        return cls(torch.zeros_like(phi), torch.zeros_like(phi), torch.zeros(len(phi), 1, dtype=phi.dtype))


def ascend(
    phi: Tensor,
    gradient: Tensor,
    moments: Moments,
    rate: Tensor | float,
    shared: slice | None = None,
    active: Tensor | None = None,
) -> tuple[Tensor, Moments]:
    r"""One step of Adam uphill.

    .. math:: m \leftarrow b_1 m + (1 - b_1) g,\quad v \leftarrow b_2 v + (1 - b_2) g^2,\quad
              \phi \leftarrow \phi + \eta\,\hat m / (\sqrt{\hat v} + \epsilon)

    Over the columns `shared` one second moment per row stands for all, their mean: Adam proper would divide the
    ratio of drive and repulsion out, weight by weight, and sigma would no longer say how well a weight is known.

    Args:
        phi: (S, Q).
        gradient: (S, Q).
        moments: changed nowhere.
        rate: eta, a number or (Q,).
        shared: columns with one second moment.
        active: rows that step, bool (S,).

    Returns:
        New phi and moments.
    """
    steps = moments.steps + 1.0
    first = B1 * moments.first + (1.0 - B1) * gradient
    second = B2 * moments.second + (1.0 - B2) * gradient.square()
    by = second / (1.0 - B2**steps)
    if shared is not None:
        by = by.clone()
        by[:, shared] = by[:, shared].mean(1, keepdim=True)
    new = phi + rate * (first / (1.0 - B1**steps)) / (square_root(by) + EPS)
    if active is None:
        return new, Moments(first, second, steps)
    keep = active.unsqueeze(1)
    pairs = ((new, phi), (first, moments.first), (second, moments.second), (steps, moments.steps))
    chosen = [torch.where(keep, after, before) for after, before in pairs]
    return chosen[0], Moments(*chosen[1:])
