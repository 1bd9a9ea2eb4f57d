"""Optimisers over one flat (S, P) tensor: all layers of all seeds in one step."""

import torch
from torch import Tensor

from septet.rl.lockstep import square_root


class Adam:
    """Adam with bias correction, as one fused step.

        m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g²
        w <- w - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)

    Kingma and Ba 2015, algorithm 1.

    Args:
        flat: parameters (S, P), changed in place.
        gradient: tensor of the same shape that `step` reads.
        rate: lr.
        betas: b1, b2.
        eps: eps.
    """

    checkpointed = ("mean", "square", "steps")

    def __init__(
        self, flat: Tensor, gradient: Tensor, rate: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.flat, self.gradient, self.rate, self.betas, self.eps = flat, gradient, rate, betas, eps
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
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )


class AMSGrad:
    """AMSGrad without bias correction, with a rate per seed.

        m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g²,  u <- max(u, v)
        w <- w - lr m / (sqrt(u) + eps)

    Reddi, Kale and Kumar 2018, algorithm 2, with eps as in section 2.2 of `docs/papers/walle.md`.

    Args:
        flat: parameters (S, P), changed in place.
        betas: b1, b2.
        eps: eps.
    """

    checkpointed = ("mean", "square", "largest")

    def __init__(self, flat: Tensor, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        self.flat, self.betas, self.eps = flat, betas, eps
        self.mean, self.square, self.largest = (torch.zeros_like(flat) for _ in range(3))

    def step(self, gradient: Tensor, rate: Tensor, active: Tensor | None = None) -> None:
        """Take one step along `gradient` (S, P) at `rate` (S,), for the seeds that are `active` (S,) bool."""
        rows = range(len(self.flat)) if active is None else active.nonzero().squeeze(1).tolist()
        for s in rows:
            self.step_one(s, gradient[s], rate[s])

    def step_one(self, s: int, gradient: Tensor, rate: Tensor) -> None:
        """Take one step of seed `s` along its gradient (P,)."""
        b1, b2 = self.betas
        mean, square, largest = self.mean[s], self.square[s], self.largest[s]
        mean.lerp_(gradient, 1.0 - b1)
        square.mul_(b2).addcmul_(gradient, gradient, value=1.0 - b2)
        torch.maximum(largest, square, out=largest)
        self.flat[s] -= rate * mean / (square_root(largest) + self.eps)
