"""Bias and variance of the inner gradients on the Gaussian bandit, against numbers by hand and a naive twin."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from septet.scores import read_scores
from septet.svrpo import bandit, svrpo
from septet.svrpo.config import Estimators, GaussianBandit, InnerLoop, Job, Task
from septet.svrpo.train import train


def job(distance=2.0, seeds=(1000, 1001), batches=2, **task):
    return Job(
        method=Estimators(algorithm="estimators", name="estimators", batches=batches),
        task=GaussianBandit(name="bandit", distance=distance, **task),
        seeds=list(seeds),
    )


def by_hand(distance, t):
    """Relative bias in the Fisher metric at (m, log s) = t (2 c, -1), without the ratio.

    With A = 1 - a² + 2 c a and a ~ N(0, 1): E A = 0, E A a = 2 c, E A a² = -2, so that
    E A (a - m) / s² = 2 c / s² and E A ((a - m)² / s² - 1) = -(2 + 4 m c) / s²; truly 2 (c - m) and -2 s².
    """
    m, s2 = 2.0 * distance * t, math.exp(-2.0 * t)
    published = 2.0 * distance / s2, -(2.0 + 4.0 * m * distance) / s2
    true = 2.0 * (distance - m), -2.0 * s2
    off, size = (u[0] ** 2 * s2 + 0.5 * u[1] ** 2 for u in (np.subtract(published, true), true))
    return math.sqrt(off / size)


@pytest.mark.parametrize("distance", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("divergence", [0.001, 0.01, 0.1])
def test_a_policy_lies_as_far_from_the_snapshot_as_asked(distance, divergence):
    _, m, log_s = (float(x) for x in bandit.policy_at(divergence, distance))
    assert math.isclose(log_s + 0.5 * (1 + m**2) / math.exp(2 * log_s) - 0.5, divergence, rel_tol=1e-9)
    assert math.isclose(m, -2.0 * distance * log_s, rel_tol=1e-12) and m > 0


def test_the_true_gradient_is_that_of_the_expected_loss_by_quadrature():
    w = bandit.policy_at(0.05, 2.0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)

    def loss(m, log_s):
        return float(weights @ (m + math.exp(log_s) * nodes - 2.0) ** 2) / math.sqrt(2 * math.pi)

    m, log_s, h = float(w[1]), float(w[2]), 1e-5
    numeric = [loss(m + h, log_s) - loss(m - h, log_s), loss(m, log_s + h) - loss(m, log_s - h)]
    assert np.allclose(bandit.true_gradient(w, 2.0)[1:].numpy(), np.divide(numeric, 2 * h), rtol=1e-7)


def test_the_published_bias_is_that_of_the_closed_form():
    """8 %, 28 % and 71 % of the gradient at 0.001, 0.01 and 0.05 nats; with the ratio there is none."""
    task = job(batches=40, seeds=(1000,), divergences=[1, 10, 50])
    assert isinstance(task.task, GaussianBandit) and isinstance(task.method, Estimators)
    measurement = bandit.Measurement(task, task.method, task.task)
    for batch in range(40):
        measurement.add(batch)
    scores = measurement.scores()
    expected = [by_hand(2.0, -float(bandit.policy_at(nats, 2.0)[2])) for nats in (0.001, 0.01, 0.05)]
    assert np.allclose(expected, [0.083, 0.283, 0.717], atol=5e-4)
    for name in ("svrg", "sgd"):
        assert np.allclose(scores[name]["bias"], expected, atol=0.035)
        assert (scores[f"{name}_ratio"]["bias"] < 0.035).all()
    ratio = scores["svrg_ratio"]["variance_ratio"][0]
    assert ratio[1] < 0.5 < 1.2 < ratio[2] < 2.0, "more variance than the mini-batch from 0.05 nats on"
    assert (scores["svrg"]["variance_ratio"] < 0.15).all()


def test_scores_are_those_of_a_naive_loop_over_samples():
    made = job(batches=2, seeds=(1000,), batch_size=12, minibatch_size=4, divergences=[10])
    assert isinstance(made.task, GaussianBandit) and isinstance(made.method, Estimators)
    measurement = bandit.Measurement(made, made.method, made.task)
    drawn = []
    original = bandit.samples_of

    def recorded(task, rng):
        drawn.append(original(task, rng))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bandit, "samples_of", recorded)
        for batch in range(2):
            measurement.add(batch)
    _, m, log_s = (float(x) for x in bandit.policy_at(0.01, 2.0))
    s = math.exp(log_s)

    def gradient(a, m, s, ratio):
        """Gradient of minus log pi (or of minus the ratio) times the advantage, for one action."""
        advantage = 5.0 - (a - 2.0) ** 2
        weight = math.exp(-0.5 * ((a - m) / s) ** 2 - math.log(s) + 0.5 * a**2) if ratio else 1.0
        return -advantage * weight * np.array([(a - m) / s**2, ((a - m) / s) ** 2 - 1.0])

    def length(g):
        return g[0] ** 2 * s**2 + 0.5 * g[1] ** 2

    true = np.array([2.0 * (m - 2.0), 2.0 * s**2])
    for ratio, name in ((False, "svrg"), (True, "svrg_ratio")):
        v = []
        for samples in drawn:
            actions = [float(a) for a in samples.action[:, 0]]
            full = np.mean([gradient(a, 0.0, 1.0, ratio) for a in actions], axis=0)
            for k in range(3):
                block = actions[4 * k : 4 * k + 4]
                here, there = (np.mean([gradient(a, *p, ratio) for a in block], axis=0) for p in ((m, s), (0.0, 1.0)))
                v.append(here - there + full)
        mean = np.mean(v, axis=0)
        found = {metric: float(values[0, 0]) for metric, values in measurement.scores()[name].items()}
        assert math.isclose(found["bias"], math.sqrt(length(mean - true) / length(true)), rel_tol=1e-9)
        assert math.isclose(
            found["squared_error"], np.mean([length(one - true) for one in v]) / length(true), rel_tol=1e-9
        )
        assert math.isclose(found["variance"], np.mean([length(one - mean) for one in v]) / length(true), rel_tol=1e-8)


def test_the_gradients_are_those_of_training(monkeypatch):
    """One function gives the gradient of an inner step, here and in training: spoil it, and both change."""
    assert bandit.inner_gradient is svrpo.inner_gradient and bandit.variance_ratio is svrpo.variance_ratio

    def negative(at_w, at_snapshot, full):
        return -(at_w - at_snapshot + full)

    made = job(batches=2, seeds=(1000,), batch_size=12, minibatch_size=4, divergences=[10])
    assert isinstance(made.task, GaussianBandit)
    problem = bandit.problem_of(made.task, bandit.samples_of(made.task, np.random.default_rng(0)), ratio=False)
    w = bandit.policy_at(0.01, 2.0)
    step = InnerLoop(algorithm="inner_loop", target_kl=0.05)
    draws = np.array([1, 1]), np.array([0, 0])
    before = bandit.gradients(problem, [w])["svrg"][0]
    taken = svrpo.inner_loop(problem, bandit.snapshot(), *draws, step).mean_gradient
    monkeypatch.setattr(svrpo, "control_variate", negative)
    assert torch.equal(bandit.gradients(problem, [w])["svrg"][0], -before)
    assert not torch.equal(svrpo.inner_loop(problem, bandit.snapshot(), *draws, step).mean_gradient, taken)


def test_scores_of_the_job(tmp_path):
    train(job(divergences=[1, 10], batch_size=40, minibatch_size=10), tmp_path / "both")
    train(job(divergences=[1, 10], batch_size=40, minibatch_size=10, seeds=(1001,)), tmp_path / "alone")
    scores, alone = (read_scores(tmp_path / name / "scores.parquet") for name in ("both", "alone"))
    labels = {f"estimators/{name}" for name in ("svrg", "svrg_ratio", "sgd", "sgd_ratio")}
    assert set(scores["method"]) == labels and set(scores["step"]) == {1, 10}
    assert set(scores["metric"]) == {"bias", "variance", "squared_error", "variance_ratio"}
    assert scores.filter(seed=1001).drop("seed").equals(alone.drop("seed"))
    assert (scores.filter(pl.col("metric") == "bias")["value"] > 0).all()


def test_bad_bandits_are_refused():
    with pytest.raises(ValidationError, match="estimators for a Gaussian bandit"):
        Job(method=Estimators(algorithm="estimators"), task=Task())
    with pytest.raises(ValidationError, match="estimators for a Gaussian bandit"):
        Job(method=InnerLoop(algorithm="inner_loop"), task=GaussianBandit(distance=1.0))
    with pytest.raises(ValidationError, match="multiple of minibatch_size"):
        GaussianBandit(distance=1.0, batch_size=10, minibatch_size=3)
    with pytest.raises(ValidationError, match="ascending order"):
        GaussianBandit(distance=1.0, divergences=[3, 1])
