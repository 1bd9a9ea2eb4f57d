"""Invertibility and log-determinants of every sampler, against automatic differentiation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from septet.errors import InputError
from septet.vipg.flows import Coupling, Planar
from septet.vipg.samplers import Cholesky, LowRank, MeanField, Particles, PosteriorSampler

FAMILIES = {
    "mean_field": lambda d: MeanField(d),
    "full": lambda d: Cholesky(d),
    "low_rank": lambda d: LowRank(d, rank=2),
    "planar": lambda d: Planar(d, layers=3),
    "coupling": lambda d: Coupling(d, layers=3, hidden=4),
}
cases = given(
    name=st.sampled_from(sorted(FAMILIES)),
    d=st.integers(2, 6),
    size=st.floats(0.05, 1.5),
    number=st.integers(0, 10_000),
)
tried = settings(max_examples=60, deadline=None)


def drawn(name: str, d: int, size: float, number: int) -> tuple[PosteriorSampler, torch.Tensor, torch.Tensor]:
    """A sampler with random parameters of two rows and noise of three particles."""
    rng = np.random.default_rng(number)
    sampler = FAMILIES[name](d)
    phi = torch.from_numpy(size * rng.standard_normal((2, sampler.size)))
    return sampler, phi, torch.from_numpy(rng.standard_normal((2, 3, d)))


@tried
@cases
def test_inverse_undoes_the_sampler(name, d, size, number):
    sampler, phi, xi = drawn(name, d, size, number)
    theta, _ = sampler(phi, xi)
    np.testing.assert_allclose(sampler.inverse(phi, theta), xi, atol=1e-6)


@tried
@cases
def test_log_determinant_is_that_of_the_jacobian(name, d, size, number):
    sampler, phi, xi = drawn(name, d, size, number)
    _, log_det = sampler(phi, xi)
    for s in range(2):
        for k in range(3):

            def one(x, s=s):
                return sampler(phi[s : s + 1], x[None, None])[0][0, 0]

            sign, want = torch.linalg.slogdet(torch.autograd.functional.jacobian(one, xi[s, k]))
            assert sign > 0
            np.testing.assert_allclose(log_det[s, k], want, atol=1e-8)


@tried
@cases
def test_rows_do_not_mix(name, d, size, number):
    sampler, phi, xi = drawn(name, d, size, number)
    together = sampler(phi, xi)
    alone = sampler(phi[1:], xi[1:])
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a[1:], b, atol=1e-12)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_starts_as_the_gaussian_it_is_told(name):
    sampler = FAMILIES[name](5)
    mean = torch.arange(10.0, dtype=torch.float64).reshape(2, 5)
    phi = sampler.initial(mean, 0.3, [np.random.default_rng(s) for s in range(2)])
    xi = torch.from_numpy(np.random.default_rng(9).standard_normal((2, 4, 5)))
    theta, log_det = sampler(phi, xi)
    near = 1e-3 if name == "low_rank" else 1e-9  # it starts next to the identity
    np.testing.assert_allclose(theta, mean[:, None] + 0.3 * xi, atol=near)
    np.testing.assert_allclose(log_det, 5 * np.log(0.3), atol=near)


@pytest.mark.parametrize("name", ["mean_field", "full", "low_rank"])
def test_density_is_that_of_the_gaussian(name):
    """log q against scipy's multivariate normal with the covariance written out."""
    sampler, phi, xi = drawn(name, 4, 0.5, 1)
    theta, _ = sampler(phi, xi)
    mu = phi[0, :4].numpy()
    factor = (sampler(phi[:1], torch.eye(4, dtype=torch.float64)[None])[0][0].numpy() - mu).T
    want = stats.multivariate_normal(mu, factor @ factor.T).logpdf(theta[0].numpy())
    np.testing.assert_allclose(sampler.log_density(phi, theta)[0], want)


@pytest.mark.parametrize("name", ["mean_field", "full"])
def test_second_moment_in_closed_form(name):
    sampler, phi, _ = drawn(name, 3, 0.7, 2)
    xi = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 200_000, 3)))
    theta, _ = sampler(phi, xi)
    np.testing.assert_allclose(sampler.second_moment(phi, theta), theta.square().sum(2).mean(1), rtol=0.02)


def test_particles_are_their_own_parameters():
    sampler = Particles(3, count=2)
    phi = torch.arange(6.0)[None]
    theta, log_det = sampler(phi, torch.zeros(1, 2, 3))
    assert theta.tolist() == [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]
    assert log_det.abs().sum() == 0
    mu, rho, _ = sampler.split(phi)
    assert mu.tolist() == [[1.5, 2.5, 3.5]]
    np.testing.assert_allclose(rho.exp(), 1.5)
    with pytest.raises(NotImplementedError):
        sampler.log_density(phi, theta)


def test_refuses_sizes_that_make_no_sense():
    with pytest.raises(InputError, match="at least 2"):
        Coupling(1)
    with pytest.raises(InputError, match="low_rank"):
        Cholesky(2000)
