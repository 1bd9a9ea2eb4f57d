"""The method for use elsewhere: one decision at a time."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynts.filter import laplace_update, laplace_update_batch, predict
from septet.compiled import compiled
from septet.errors import InputError

Array = NDArray[np.float64]


class LogisticThompson:
    """Discounted Thompson sampling for click / no click rewards (section 2.4 of the method page).

    With `n_arms` each arm has weights of its own and `choose` takes the user's features ``(D,)``;
    without, one weight vector is shared and `choose` takes joint features ``(K, D)``, where K may
    change from round to round.

    Args:
        n_features: D.
        n_arms: K for weights per arm, None for shared weights.
        decay: gamma in (0, 1]; each round the past loses this factor of its weight.
        prior_variance: the weights' prior is N(0, prior_variance I).
        posterior_scale: alpha; 1 is plain Thompson sampling, 0 is greedy.
        seed: seed of the draws.

    Raises:
        InputError: a parameter is out of range.
    """

    def __init__(
        self,
        n_features: int,
        n_arms: int | None = None,
        *,
        decay: float = 1.0,
        prior_variance: float = 1.0,
        posterior_scale: float = 1.0,
        seed: int | None = None,
    ) -> None:
        if not 0.0 < decay <= 1.0:
            raise InputError("decay", expected="a number in (0, 1]", found=decay)
        if prior_variance <= 0.0 or posterior_scale < 0.0:
            raise InputError(
                "prior_variance, posterior_scale", expected="positive", found=(prior_variance, posterior_scale)
            )
        groups = 1 if n_arms is None else n_arms
        self.n_arms, self.n_features, self.decay, self.posterior_scale = n_arms, n_features, decay, posterior_scale
        self.mu = np.zeros((groups, n_features))
        """Posterior means, ``(K, D)``, or ``(1, D)`` with shared weights."""
        self.sigma = np.tile(np.eye(n_features) * prior_variance, (groups, 1, 1))
        """Posterior covariances, ``(K, D, D)`` or ``(1, D, D)``."""
        self._prior_trace = prior_variance * n_features
        self._rng = np.random.default_rng(seed)

    def choose(self, features: ArrayLike) -> int:
        """Discount the past by one round, draw weights, and return the arm with the highest logit.

        Args:
            features: ``(D,)`` with `n_arms`, otherwise ``(K, D)``.

        Raises:
            InputError: another shape, or a value that is not finite.
        """
        phi = self._checked(
            features, "features", (None, self.n_features) if self.n_arms is None else (self.n_features,)
        )
        _predict_all(self.sigma, self.decay, self._prior_trace)
        if self.n_arms is None:
            root = np.linalg.cholesky(self.sigma[0])
            w = self.mu[0] + np.sqrt(self.posterior_scale) * (root @ self._rng.standard_normal(self.n_features))
            return int(np.argmax(phi @ w))
        noise = np.sqrt(self.posterior_scale) * self._rng.standard_normal(self.n_arms)
        return int(_best_disjoint(self.mu, self.sigma, phi, noise))

    def update(self, features: ArrayLike, clicked: float, arm: int = 0) -> None:
        """Learn from one click or no click.

        Args:
            features: ``(D,)``: the user's, or the chosen row of the joint features.
            clicked: 0 or 1.
            arm: the arm that was shown; left out with shared weights.

        Raises:
            InputError: a wrong shape or arm, or a reward other than 0 and 1.
        """
        phi = self._checked(features, "features", (self.n_features,))
        if clicked not in (0, 1):
            raise InputError("clicked", expected="0 or 1", found=clicked)
        if not 0 <= arm < len(self.mu):
            raise InputError("arm", expected=f"an index below {len(self.mu)}", found=arm)
        self.mu[arm], self.sigma[arm] = laplace_update(self.mu[arm], self.sigma[arm], phi, float(clicked), 1.0)

    def update_batch(self, features: ArrayLike, clicks: ArrayLike, trials: ArrayLike, arm: int = 0) -> None:
        """Learn from counts that came in together, such as an hour's log, in one Newton solve.

        Args:
            features: ``(B, D)``; clicks, trials: ``(B,)`` with 0 <= clicks <= trials.

        Raises:
            InputError: wrong shapes, or counts that make no sense.
        """
        phis = self._checked(features, "features", (None, self.n_features))
        c = self._checked(clicks, "clicks", (len(phis),))
        n = self._checked(trials, "trials", (len(phis),))
        if (c < 0).any() or (c > n).any():
            raise InputError("clicks", expected="0 <= clicks <= trials", found=(clicks, trials))
        self.mu[arm], self.sigma[arm] = laplace_update_batch(self.mu[arm], self.sigma[arm], phis, c, n)

    def _checked(self, values: ArrayLike, name: str, shape: tuple[int | None, ...]) -> Array:
        array = np.ascontiguousarray(values, dtype=np.float64)
        fits = len(shape) == array.ndim and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise InputError(name, expected=f"an array of shape {shape}", found=f"shape {array.shape}")
        if not np.isfinite(array).all():
            raise InputError(name, expected="finite numbers", found="NaN or infinity")
        return array


@compiled()
def _predict_all(sigma: Array, decay: float, prior_trace: float) -> None:
    for group in range(sigma.shape[0]):
        sigma[group] = predict(sigma[group], decay, prior_trace)


@compiled()
def _best_disjoint(mu: Array, sigma: Array, x: Array, noise: Array) -> int:
    best, best_score = 0, -np.inf
    for a in range(mu.shape[0]):
        score = mu[a] @ x + np.sqrt(x @ (sigma[a] @ x)) * noise[a]
        if score > best_score:
            best, best_score = a, score
    return best
