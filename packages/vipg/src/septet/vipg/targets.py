"""Returns of weights that are known in closed form, so that the posterior is too (sections 2.3 and 7)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.vipg.config import Quadratic, Surface

Array = NDArray[np.float64]
GRID = 401


@dataclass(frozen=True)
class Target:
    """A return J over weights, and the posterior p0 exp(J / alpha) / Z that it makes."""

    task: Quadratic | Surface

    @property
    def weights(self) -> int:
        """d."""
        return len(self.task.centre) if isinstance(self.task, Quadratic) else 2

    def value(self, theta: Tensor) -> Tensor:
        """J (...) of weights (..., d).

        Quadratic: -1/2 (theta - c)' A (theta - c). Surface: sum_m h_m exp(-|theta - c_m|² / (2 w_m²)).
        """
        if isinstance(self.task, Quadratic):
            away = theta - torch.tensor(self.task.centre, dtype=theta.dtype)
            return -0.5 * ((away @ torch.tensor(self.task.curvature, dtype=theta.dtype)) * away).sum(-1)
        centres = torch.tensor(self.task.centres, dtype=theta.dtype)
        heights, widths = (torch.tensor(v, dtype=theta.dtype) for v in (self.task.heights, self.task.widths))
        square = (theta.unsqueeze(-2) - centres).square().sum(-1)
        return (heights * torch.exp(-0.5 * square / widths.square())).sum(-1)

    def gradient(self, theta: Tensor) -> Tensor:
        """dJ/dtheta (..., d)."""
        theta = theta.detach().requires_grad_()
        (out,) = torch.autograd.grad(self.value(theta).sum(), theta)
        return out

    def log_density(self, theta: Tensor) -> Tensor:
        """log p0 + J / alpha (...), not normalised."""
        return self.value(theta) / self.task.alpha - theta.square().sum(-1) / (2.0 * self.task.prior_scale**2)

    def grid(self) -> tuple[Array, Array, float]:
        """A square grid (n, n, 2) of a surface, its probabilities (n, n), and log Z by summation."""
        reach = 5.0 * self.task.prior_scale
        axis = np.linspace(-reach, reach, GRID)
        places = np.stack(np.meshgrid(axis, axis, indexing="xy"), axis=-1)
        log_p = self.log_density(torch.from_numpy(places)).numpy()
        top = log_p.max()
        weight = np.exp(log_p - top)
        cell = (axis[1] - axis[0]) ** 2
        return places, weight / weight.sum(), float(np.log(weight.sum() * cell) + top)

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Samples (count, 2) of a surface's posterior: a cell of the grid, and a place in it."""
        places, probability, _ = self.grid()
        cells = rng.choice(probability.size, count, p=probability.ravel())
        width = places[0, 1, 0] - places[0, 0, 0]
        return places.reshape(-1, 2)[cells] + width * (rng.random((count, 2)) - 0.5)

    def covariance(self, full: bool) -> Array:
        """Covariance (d, d) of the best Gaussian for a quadratic: (A / alpha + I / s0²)^-1, or 1 / its diagonal."""
        assert isinstance(self.task, Quadratic)
        precision = np.array(self.task.curvature) / self.task.alpha
        precision += np.eye(self.weights) / self.task.prior_scale**2
        return np.asarray(np.linalg.inv(precision)) if full else np.diag(1.0 / np.diag(precision))

    def masses(self, samples: Array) -> Array:
        """Share (M,) of samples (n, 2) within one width of each mode of a surface."""
        assert isinstance(self.task, Surface)
        far = np.linalg.norm(samples[:, None] - np.array(self.task.centres), axis=2)
        return np.asarray((far < np.array(self.task.widths)).mean(axis=0))
