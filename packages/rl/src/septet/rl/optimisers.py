"""Optimisers over one flat (S, P) tensor: all layers of all seeds in one step."""

import torch
from torch import Tensor

from septet.rl.lockstep import square_root

B1, B2, EPS = 0.9, 0.999, 1e-8


class Adam:
    """Adam with bias correction, as one fused step.

        m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g²
        w <- w - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)

    Kingma and Ba 2015, algorithm 1.

    Args:
        flat: parameters (S, P), changed in place.
        gradient: tensor of the same shape that `step` reads.
        rate: lr.
        eps: eps.
    """

    checkpointed = ("mean", "square", "steps")

    def __init__(self, flat: Tensor, gradient: Tensor, rate: float, eps: float = EPS) -> None:
        self.flat, self.gradient, self.rate, self.eps = flat, gradient, rate, eps
        self.mean, self.square = torch.zeros_like(flat), torch.zeros_like(flat)
        self.steps = torch.zeros(())

    def step(self) -> None:
        """Take one step along the gradient that lies in `gradient`."""
        self.steps += 1
        torch._fused_adam_(
            list(self.flat),  # row by row: its scalar code for the last few numbers rounds otherwise
            list(self.gradient),
            list(self.mean),
            list(self.square),
            [],
            [self.steps] * len(self.flat),
            lr=self.rate,
            beta1=B1,
            beta2=B2,
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )


class AMSGrad:
    """AMSGrad without bias correction, seed by seed.

        m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g²,  u <- max(u, v)
        w <- w - lr m / (sqrt(u) + eps)

    Reddi, Kale and Kumar 2018, algorithm 2, with eps as in section 2.2 of `docs/papers/walle.md`.

    Args:
        flat: parameters (S, P), changed in place.
    """

    checkpointed = ("mean", "square", "largest")

    def __init__(self, flat: Tensor) -> None:
        self.flat = flat
        self.mean, self.square, self.largest = (torch.zeros_like(flat) for _ in range(3))

    def step(self, s: int, gradient: Tensor, rate: Tensor) -> None:
        """Take one step of seed `s` along its gradient (P,) at its rate."""
        mean, square, largest = self.mean[s], self.square[s], self.largest[s]
        mean.lerp_(gradient, 1.0 - B1)
        square.mul_(B2).addcmul_(gradient, gradient, value=1.0 - B2)
        torch.maximum(largest, square, out=largest)
        self.flat[s] -= rate * mean / (square_root(largest) + EPS)
