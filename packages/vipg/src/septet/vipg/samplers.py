r"""Samplers of policy weights: invertible maps of Gaussian noise with exact log-determinants (section 2.1).

.. math:: \theta = h_\phi(\xi),\quad \xi \sim N(0, I_d),\qquad
          \log q_\phi(\theta) = \log q_0(\xi) - \log|\det \partial h_\phi/\partial\xi|

Pure functions of tensors with a leading axis of S rows (seeds) and an axis of K particles. The parameters of a row
are one flat vector phi: first the centre mu ``(d)``, then the log-scales rho ``(d)``, then what the family adds.
Flows act on the noise, then scale and centre are applied: theta = mu + exp(rho) z, z = flow(xi).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from septet.errors import InputError
from septet.rl.gaussian import LOG_2PI

LARGEST_CHOLESKY = 512  # d (d - 1) / 2 parameters: above it the factor outweighs any policy


@dataclass(frozen=True)
class PosteriorSampler(ABC):
    """A family of samplers over d weights.

    Args:
        weights: d.

    Raises:
        InputError: fewer weights than the family needs.
    """

    weights: int
    least = 1

    def __post_init__(self) -> None:
        """Check."""
        if self.weights < self.least:
            raise InputError(
                f"sampler {type(self).__name__}: weights", expected=f"at least {self.least}", found=self.weights
            )

    @property
    def extra(self) -> int:
        """Parameters beyond centre and log-scales."""
        return 0

    @property
    def size(self) -> int:
        """Q, length of phi."""
        return 2 * self.weights + self.extra

    def split(self, phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centre mu (S, d), log-scales rho (S, d), the rest (S, extra): views of phi (S, Q)."""
        mu, rho, rest = torch.split(phi, [self.weights, self.weights, self.extra], dim=1)
        return mu, rho, rest

    def __call__(self, phi: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        """Weights theta = h_phi(xi) (S, K, d) and log|det dh/dxi| (S, K), from phi (S, Q) and xi (S, K, d)."""
        mu, rho, rest = self.split(phi)
        z, log_det = self.bend(rest, xi)
        return mu.unsqueeze(1) + rho.exp().unsqueeze(1) * z, log_det + rho.sum(1, keepdim=True)

    def inverse(self, phi: Tensor, theta: Tensor) -> Tensor:
        """xi (S, K, d) with h_phi(xi) = theta (S, K, d)."""
        mu, rho, rest = self.split(phi)
        return self.unbend(rest, (theta - mu.unsqueeze(1)) * (-rho).exp().unsqueeze(1))

    def log_density(self, phi: Tensor, theta: Tensor) -> Tensor:
        """log q_phi(theta) (S, K) of any weights theta (S, K, d)."""
        xi = self.inverse(phi, theta)
        return -0.5 * (xi.square().sum(2) + self.weights * LOG_2PI) - self(phi, xi)[1]

    def second_moment(self, phi: Tensor, theta: Tensor) -> Tensor:
        """E |theta|² (S,): the mean over the particles theta (S, K, d), or the closed form where there is one."""
        return theta.square().sum(2).mean(1)

    def initial(self, mean: Tensor, sigma: float, generators: list[np.random.Generator]) -> Tensor:
        """phi (S, Q) at which theta ~ N(mean, sigma² I) exactly, for mean (S, d); one generator per row."""
        rho = torch.full_like(mean, math.log(sigma))
        rest = np.stack([self.identity(generator) for generator in generators])
        return torch.cat([mean, rho, torch.from_numpy(rest).to(mean)], dim=1)

    def identity(self, rng: np.random.Generator) -> np.ndarray:
        """Further parameters (extra,) at which the flow is the identity."""
        return np.zeros(self.extra)

    @abstractmethod
    def bend(self, rest: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        """z = flow(xi) (S, K, d) and its log|det| (S, K)."""

    @abstractmethod
    def unbend(self, rest: Tensor, z: Tensor) -> Tensor:
        """xi with flow(xi) = z."""


@dataclass(frozen=True)
class MeanField(PosteriorSampler):
    """Independent weights: theta_i = mu_i + sigma_i xi_i, sigma = exp(rho)."""

    def bend(self, rest: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        """The identity."""
        return xi, xi.new_zeros(xi.shape[:2])

    def unbend(self, rest: Tensor, z: Tensor) -> Tensor:
        """The identity."""
        return z

    def second_moment(self, phi: Tensor, theta: Tensor) -> Tensor:
        """|mu|² + |sigma|²."""
        mu, rho, _ = self.split(phi)
        return mu.square().sum(1) + (2.0 * rho).exp().sum(1)


@dataclass(frozen=True)
class Cholesky(PosteriorSampler):
    """Any Gaussian: theta = mu + L xi, L = D (I + N), D = diag(exp(rho)), N strictly lower triangular."""

    def __post_init__(self) -> None:
        """Check."""
        super().__post_init__()
        if self.weights > LARGEST_CHOLESKY:
            raise InputError(
                "sampler full: weights", expected=f"at most {LARGEST_CHOLESKY} (use low_rank)", found=self.weights
            )

    @property
    def extra(self) -> int:
        """d (d - 1) / 2."""
        return self.weights * (self.weights - 1) // 2

    def factor(self, rest: Tensor) -> Tensor:
        """I + N (S, d, d)."""
        eye = torch.eye(self.weights, dtype=rest.dtype).repeat(len(rest), 1, 1)
        rows, columns = torch.tril_indices(self.weights, self.weights, -1)
        below = torch.zeros_like(eye)
        return eye + below.index_put((torch.arange(len(rest)).unsqueeze(1), rows, columns), rest)

    def bend(self, rest: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        """(I + N) xi, whose determinant is 1."""
        return xi @ self.factor(rest).mT, xi.new_zeros(xi.shape[:2])

    def unbend(self, rest: Tensor, z: Tensor) -> Tensor:
        """(I + N)^-1 z."""
        return torch.linalg.solve_triangular(self.factor(rest), z.mT, upper=False).mT

    def second_moment(self, phi: Tensor, theta: Tensor) -> Tensor:
        """|mu|² + |L|² (Frobenius)."""
        mu, rho, rest = self.split(phi)
        return mu.square().sum(1) + (rho.exp().unsqueeze(2) * self.factor(rest)).square().sum((1, 2))


@dataclass(frozen=True)
class LowRank(PosteriorSampler):
    """Diagonal plus low rank: theta = mu + D (I + U U') xi, U (d, rank).

    The covariance is D (I + U (2 I + U'U) U') D; the determinant of I + U U' is that of I + U'U, never zero.
    """

    rank: int = 4

    @property
    def extra(self) -> int:
        """d rank."""
        return self.weights * self.rank

    def _u(self, rest: Tensor) -> tuple[Tensor, Tensor]:
        u = rest.reshape(-1, self.weights, self.rank)
        return u, torch.eye(self.rank, dtype=rest.dtype) + u.mT @ u

    def bend(self, rest: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        """xi + U U' xi."""
        u, small = self._u(rest)
        log_det = 2.0 * torch.linalg.cholesky(small).diagonal(dim1=1, dim2=2).log().sum(1)
        return xi + (xi @ u) @ u.mT, log_det.unsqueeze(1).expand(xi.shape[:2])

    def unbend(self, rest: Tensor, z: Tensor) -> Tensor:
        """z - U (I + U'U)^-1 U' z (Woodbury)."""
        u, small = self._u(rest)
        return z - torch.linalg.solve(small, (z @ u).mT).mT @ u.mT

    def identity(self, rng: np.random.Generator) -> np.ndarray:
        """Small random U: at zero its gradient would vanish."""
        return 0.01 * rng.standard_normal(self.extra) / math.sqrt(self.weights)


@dataclass(frozen=True)
class Particles(PosteriorSampler):
    """Weights without a density: phi is the particles themselves, (K d); one particle is an ordinary policy."""

    count: int = 1

    @property
    def size(self) -> int:
        """K d."""
        return self.count * self.weights

    def split(self, phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centre of the particles, log-standard deviation around it, nothing."""
        theta = phi.reshape(-1, self.count, self.weights)
        return theta.mean(1), 0.5 * theta.var(1, correction=0).clamp_min(1e-20).log(), phi[:, :0]

    def __call__(self, phi: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        """The particles; there is no noise and no log-determinant."""
        return phi.reshape(-1, self.count, self.weights), phi.new_zeros(len(phi), self.count)

    def inverse(self, phi: Tensor, theta: Tensor) -> Tensor:
        """Not defined: particles have no density."""
        raise NotImplementedError("particles have no density")

    def initial(self, mean: Tensor, sigma: float, generators: list[np.random.Generator]) -> Tensor:
        """The particles N(mean, sigma² I); the mean itself if there is one only."""
        if self.count == 1:
            return mean.clone()
        noise = np.stack([rng.standard_normal((self.count, self.weights)) for rng in generators])
        return (mean.unsqueeze(1) + sigma * torch.from_numpy(noise).to(mean)).flatten(1)

    def bend(self, rest: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        """Not defined."""
        raise NotImplementedError("particles are not a map of noise")

    unbend = inverse  # type: ignore[assignment]
