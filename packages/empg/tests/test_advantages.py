"""Advantages: the method page's table, numbers computed by hand, and naive loops that read like the papers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.empg import advantages as adv

TABLE = {
    0.01: (1.000, -0.050),
    0.05: (0.975, -0.114),
    0.10: (0.905, -0.165),
    0.25: (0.699, -0.281),
    0.50: (0.462, -0.462),
    0.75: (0.281, -0.699),
    0.90: (0.165, -0.905),
    0.99: (0.050, -1.000),
}


@pytest.mark.parametrize("p", TABLE)
def test_the_table_of_the_brief(p):
    reward = (torch.arange(100) < round(100 * p)).double()
    advantage = adv.smooth(adv.whiten(reward, bessel=False))
    plus, minus = TABLE[p]
    assert advantage[0].item() == pytest.approx(plus, abs=5e-4)
    assert advantage[-1].item() == pytest.approx(minus, abs=5e-4)
    assert advantage[0].item() == pytest.approx(math.tanh(0.5 * math.sqrt((1 - p) / p)), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1 / 3])
def test_equal_rewards_give_exactly_nothing(value):
    reward = torch.full((7,), value)
    assert (adv.smooth(adv.whiten(reward)) == 0).all()
    mask = torch.ones(7, 3)
    assert (adv.whiten(reward[:, None] * mask, mask) == 0).all()
    assert (adv.group_standardise(reward[:6], 3) == 0).all()
    assert adv.leave_one_out(reward[:6], 3).abs().max() < 1e-7


def test_the_three_baselines_and_no_sigmoid():
    z = torch.tensor([2.0, -1.0, -1.0])
    sigma = [1 / (1 + math.exp(-v)) for v in z.tolist()]
    assert adv.smooth(z, baseline="half").tolist() == pytest.approx([math.tanh(v / 2) for v in z.tolist()], abs=1e-6)
    assert adv.smooth(z, baseline="none").tolist() == pytest.approx([2 * s for s in sigma], abs=1e-6)
    mean = sum(sigma) / 3
    assert adv.smooth(z, baseline="mean").tolist() == pytest.approx([2 * (s - mean) for s in sigma], abs=1e-6)
    assert adv.smooth(z, sigmoid=False).tolist() == z.tolist()
    with pytest.raises(ValueError):
        adv.smooth(z, baseline="median")


MASK = torch.tensor([[1.0, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])


def test_token_rewards_and_returns():
    kl = torch.tensor([[0.1, 0.2, 0.3, 9], [0.5, -0.5, 9, 9], [0.0, 0, 0, 1]])
    rewards = adv.token_rewards(torch.tensor([1.0, 0, 1]), MASK, kl, 0.1)
    assert rewards.tolist() == [
        pytest.approx([-0.01, -0.02, 0.97, 0], abs=1e-6),
        pytest.approx([-0.05, 0.05, 0, 0], abs=1e-6),
        pytest.approx([0, 0, 0, 0.9], abs=1e-6),
    ]
    assert adv.returns_to_go(rewards, MASK)[0].tolist() == pytest.approx([0.94, 0.95, 0.97, 0], abs=1e-6)
    plain = adv.returns_to_go(adv.token_rewards(torch.tensor([1.0, 0, 1]), MASK), MASK)
    assert plain.tolist() == [[1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]]


def test_token_whitening_counts_tokens_with_bessel():
    values = torch.tensor([[1.0, 1, 1, 5], [0, 0, 5, 5], [1, 1, 1, 1]])
    z = adv.whiten(values, MASK)
    n, mean = 9, 7 / 9
    sd = math.sqrt((7 * (1 - mean) ** 2 + 2 * mean**2) / (n - 1) + 1e-8)
    assert z[0].tolist() == pytest.approx([(1 - mean) / sd] * 3 + [0], abs=1e-6)
    assert z[1, 0].item() == pytest.approx(-mean / sd, abs=1e-6)


REWARD = torch.tensor([1.0, 0, 0, 0, 1, 1, 0, 1])


def test_group_methods_by_hand():
    assert adv.group_centre(REWARD, 4).tolist() == [0.75, -0.25, -0.25, -0.25, 0.25, 0.25, -0.75, 0.25]
    assert adv.leave_one_out(REWARD, 4).tolist() == pytest.approx([1, -1 / 3, -1 / 3, -1 / 3, 1 / 3, 1 / 3, -1, 1 / 3])
    assert adv.group_standardise(REWARD, 4).tolist() == pytest.approx(
        [1.5, -0.5, -0.5, -0.5, 0.5, 0.5, -1.5, 0.5], abs=1e-5
    )
    assert adv.batch_centre(REWARD).tolist() == [0.5, -0.5, -0.5, -0.5, 0.5, 0.5, -0.5, 0.5]
    assert adv.keep_correct(REWARD).tolist() == REWARD.tolist()
    assert adv.keep_best(REWARD, 4).tolist() == [1, 0, 0, 0, 1, 0, 0, 0]
    assert adv.keep_best(torch.zeros(4), 2).tolist() == [0, 0, 0, 0]


def test_next_to_no_difference_is_blown_up_by_grpo_and_by_no_other():
    """Pitfall 2: two wrong answers that differ by a KL of a thousandth."""
    reward = torch.tensor([-0.001, -0.002])
    assert adv.group_standardise(reward, 2).tolist() == pytest.approx([0.7071, -0.7071], abs=2e-3)
    assert adv.group_centre(reward, 2).abs().max() < 1e-3


def naive_gae(rewards, values, lengths, lam):
    result = torch.zeros_like(rewards)
    for i, n in enumerate(lengths):
        for t in range(n):
            total = 0.0
            for k in range(t, n):
                after = values[i, k + 1] if k + 1 < n else 0.0
                total += lam ** (k - t) * (rewards[i, k] + after - values[i, k])
            result[i, t] = total
    return result


@given(st.integers(0, 10_000), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_gae_against_the_double_sum(seed, lam):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 6, (4,), generator=generator)
    mask = (torch.arange(5) < lengths[:, None]).double()
    rewards, values = (torch.randn(4, 5, generator=generator, dtype=torch.float64) * mask for _ in range(2))
    advantage, returns = adv.gae(rewards, values, mask, lam)
    assert torch.allclose(advantage, naive_gae(rewards, values, lengths.tolist(), lam))
    assert torch.allclose(returns, advantage + values)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_properties_of_the_baselines(seed, groups, samples):
    generator = torch.Generator().manual_seed(seed)
    reward = torch.randint(0, 2, (groups * samples,), generator=generator).double()
    centred = adv.group_centre(reward, samples)
    assert centred.view(groups, samples).sum(1).abs().max() < 1e-12
    assert torch.allclose(adv.leave_one_out(reward, samples), centred * samples / (samples - 1))
    weight = adv.smooth(adv.whiten(reward, bessel=False))
    assert weight.abs().max() < 1
    assert ((weight > 0) == (reward > reward.mean())).all()
