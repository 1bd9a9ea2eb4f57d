"""Masks of every kind that TRL and verl pass: dtypes, padding on either side, gaps, empty rows, and what is none."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.empg import advantages as adv
from septet.empg import losses
from septet.empg.config import Method
from septet.empg.experiments import Experiments
from septet.empg.masks import as_booleans, working
from septet.empg.update import batch_loss, lesson
from septet.errors import InputError

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
]
METHODS = Experiments().methods
REWARD = torch.tensor([0.5, 0.0, 0.2, 0.9])
RIGHT = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_dtype_gives_the_numbers_worked_out_by_hand(dtype):
    """Four rewards that are fractions; z over the nine tokens: mean 0.3333, Bessel's deviation."""
    mask = RIGHT.to(dtype)
    rewards = adv.token_rewards(REWARD, mask)
    assert rewards.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert rewards.tolist() == [pytest.approx(row) for row in ([0, 0, 0.5], [0, 0, 0], [0, 0, 0.2], [0.9, 0, 0])]
    tokens = [0.5] * 3 + [0.0] * 2 + [0.2] * 3 + [0.9]
    mean = sum(tokens) / 9
    deviation = math.sqrt(sum((one - mean) ** 2 for one in tokens) / 8 + 1e-8)
    advantage = adv.smooth(adv.whiten(adv.returns_to_go(rewards, mask), mask), mask)
    expected = [math.tanh((one - mean) / deviation / 2) for one in (0.5, 0.0, 0.2, 0.9)]
    assert advantage[:, 0].tolist() == pytest.approx(expected, abs=1e-6)
    weights = losses.token_weights(mask, "sequence", 3)
    log_pi = torch.full((4, 3), -1.5, requires_grad=True)
    loss = losses.log_likelihood_loss(log_pi, advantage, weights)
    assert loss.item() == pytest.approx(1.5 * sum(expected) / 4, abs=1e-6)
    loss.backward()
    assert log_pi.grad[3].tolist() == pytest.approx([-expected[3] / 4, 0, 0], abs=1e-6)


def test_the_reward_is_earned_by_the_last_token_that_counts():
    mask = torch.tensor([[0, 0, 1, 1, 0], [1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    rewards = adv.token_rewards(torch.tensor([0.5, 0.25, 9.0, 1.0]), mask)
    assert rewards.tolist() == [[0, 0, 0, 0.5, 0], [0, 0, 0, 0.25, 0], [0] * 5, [0, 0, 0, 0, 1]]
    to_go = adv.returns_to_go(rewards, mask)
    assert to_go.tolist() == [[0, 0, 0.5, 0.5, 0], [0.25, 0, 0, 0.25, 0], [0] * 5, [1] * 5]


@pytest.mark.parametrize("count", [3000, 70_000])
def test_long_completions_in_half_precision(count):
    mask = torch.ones(1, count, dtype=torch.float16)
    assert losses.token_weights(mask, "sequence", count).tolist()[0][0] == pytest.approx(1 / count)
    assert losses.token_weights(mask, "token", count).sum().item() == pytest.approx(1, abs=1e-4)
    values = (torch.arange(count) % 2).half()[None]
    z = adv.whiten(values, mask)
    assert z[0, :2].tolist() == pytest.approx([-1, 1], abs=1e-3)
    assert adv.smooth(values, mask, sigmoid=False, baseline="mean")[0, :2].tolist() == pytest.approx([-0.5, 0.5])
    assert adv.returns_to_go(torch.ones_like(mask), mask)[0, 0] == count
    assert adv.gae(torch.ones_like(mask[:, :3000]), 0 * mask[:, :3000], mask[:, :3000], 1.0)[0][0, 0] == 3000


def test_advantages_of_tokens_with_a_tools_output_between():
    """GAE steps over a gap: V of the next own token follows. lambda 0.5, V 0.1, 0.2, 0.4, reward 1 at the end."""
    mask = torch.tensor([[1, 0, 1, 0, 0, 1]])
    values = torch.tensor([[0.1, 7.0, 0.2, math.nan, math.inf, 0.4]])
    rewards = torch.tensor([[0.0, 3, 0, math.nan, 9, 1]])
    third = 1 - 0.4
    second = 0.4 - 0.2 + 0.5 * third
    first = 0.2 - 0.1 + 0.5 * second
    advantage, returns = adv.gae(rewards, values, mask, 0.5)
    assert advantage[0].tolist() == pytest.approx([first, 0, second, 0, 0, third])
    assert returns[0].tolist() == pytest.approx([first + 0.1, 0, second + 0.2, 0, 0, third + 0.4])


def spread(array, columns, width, filler):
    """The array's entries in other columns, row by row, the filler elsewhere."""
    made = torch.full((len(array), width), filler, dtype=array.dtype)
    for row, places in enumerate(columns):
        made[row, places] = array[row, : len(places)]
    return made


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("empg_m4", "grpo_m4", "raft_m4")])
@given(
    seed=st.integers(0, 10_000), side=st.sampled_from(["left", "right", "gaps"]), dtype=st.sampled_from(DTYPES),
    filler=st.sampled_from([0.0, 7.0, math.nan, math.inf, -math.inf]),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_loss_and_gradients_do_not_depend_on_where_the_tokens_are(name, seed, side, dtype, filler):
    """Padding on the other side, or masked tokens between, with anything in them: the same loss, the same gradients."""
    draw = torch.Generator().manual_seed(seed)
    method = METHODS[name].model_copy(update={"entropy": 0.1})
    lengths = [int(n) for n in torch.randint(0, 5, (6,), generator=draw)]
    lengths[0] = 4
    mask = (torch.arange(4) < torch.tensor(lengths)[:, None]).double()
    new, old, reference, values, entropy = (-torch.rand(6, 4, generator=draw, dtype=torch.float64) for _ in range(5))
    reward = torch.rand(6, generator=draw, dtype=torch.float64)
    width = 9
    if side == "right":
        columns = [list(range(n)) for n in lengths]
    elif side == "left":
        columns = [list(range(width - n, width)) for n in lengths]
    else:
        columns = [sorted(torch.randperm(width, generator=draw)[:n].tolist()) for n in lengths]

    def loss_of(mask, new, old, reference, values, entropy):
        what = lesson(
            method, reward, old, mask, samples=2, limit=9, reference=reference if method.needs_reference else None,
            values=values if method.estimator == "ppo" else None,
        )  # fmt: skip
        free = new.clone().requires_grad_()
        loss = batch_loss(method, what, free, entropy, values * 0.9 if method.estimator == "ppo" else None)
        loss.backward()
        return loss.item(), free.grad, what.advantage

    loss, gradient, advantage = loss_of(mask, new, old, reference, values, entropy)
    moved = [spread(array, columns, width, filler) for array in (new, old, reference, values, entropy)]
    other = spread(mask, columns, width, 0.0).to(dtype)
    loss_2, gradient_2, advantage_2 = loss_of(other, *moved)
    exact = {"rel": 1e-9, "abs": 1e-12} if dtype == torch.float64 else {"rel": 2e-6, "abs": 1e-7}
    assert loss_2 == pytest.approx(loss, **exact)
    close = {"rtol": exact["rel"], "atol": exact["abs"]}
    torch.testing.assert_close(gradient_2, spread(gradient, columns, width, 0.0), **close)
    torch.testing.assert_close(advantage_2.double(), spread(advantage, columns, width, 0.0).double(), **close)


BAD = [
    (torch.tensor([[1.0, 0.5]]), r"mask: expected 0 and 1 only, found 0\.5"),
    (torch.tensor([[1.0, math.nan]]), "mask: expected 0 and 1 only, found nan"),
    (torch.tensor([[1, 2]]), "mask: expected 0 and 1 only, found 2"),
    (torch.tensor([[0.0, -math.inf]]), "mask: expected 0 and 1 only, found -inf"),
    (torch.tensor([[1, -1]]), "mask: expected 0 and 1 only, found -1"),
    (torch.ones(2, 2), r"mask: expected shape \(1, .*\), found shape \(2, 2\)"),
    (torch.ones(2), r"mask: expected shape \(1, .*\), found shape \(2,\)"),
    (torch.ones(1, 1, 2), r"mask: expected shape \(1, .*\), found shape \(1, 1, 2\)"),
    ([[1, 1]], "mask: expected a tensor, found list"),
]


@pytest.mark.parametrize(("mask", "message"), BAD)
def test_what_is_no_mask_is_rejected_in_one_line(mask, message):
    array = torch.ones(1, 2)
    calls = [
        lambda: adv.token_rewards(torch.ones(1), mask),
        lambda: adv.returns_to_go(array, mask),
        lambda: adv.whiten(array, mask),
        lambda: adv.smooth(array, mask),
        lambda: adv.gae(array, array, mask, 0.9),
        lambda: lesson(Method(), torch.ones(1), array, mask, samples=1, limit=2),
    ]
    if not (isinstance(mask, torch.Tensor) and mask.shape == (2, 2)):
        calls.append(lambda: losses.token_weights(mask, "token", 2))
    for call in calls:
        with pytest.raises(InputError) as caught:
            call()
        text = str(caught.value)
        assert "\n" not in text and text.startswith("mask: expected"), text
    with pytest.raises(InputError, match=message):
        as_booleans(mask, (1, 2))


def test_rewards_and_weights_that_do_not_fit_are_rejected_in_one_line():
    for reward in (torch.ones(2, 2), torch.tensor(1.0), [1.0], torch.ones(2, dtype=torch.complex64)):
        with pytest.raises(InputError, match=r"reward: expected real numbers of shape \(K,\)"):
            adv.group_centre(reward, 1)
    for samples in (0, -1, 3, 1.0, True):
        with pytest.raises(InputError, match="samples: expected a whole number that divides the 4 rewards"):
            adv.group_standardise(torch.ones(4), samples)
    for bad in (math.nan, math.inf):
        with pytest.raises(InputError, match="reward: expected finite numbers, found"):
            adv.keep_best(torch.tensor([1.0, bad]), 2)
        with pytest.raises(InputError, match="reward: expected finite numbers, found"):
            adv.token_rewards(torch.tensor([1.0, bad]), torch.ones(2, 2))
    for weights in (torch.ones(4, 1), torch.ones(3), torch.ones(3, 3)):
        with pytest.raises(InputError, match=r"weights: expected shape \(4, 3\)"):
            losses.log_likelihood_loss(torch.ones(4, 3), torch.ones(4, 3), weights)
    with pytest.raises(InputError, match="advantage: expected shape"):
        losses.log_likelihood_loss(torch.ones(4, 4), torch.ones(4), torch.ones(4, 4))
    with pytest.raises(InputError, match="limit: expected a positive number, found 0"):
        losses.token_weights(torch.ones(1, 1), "constant", 0)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16])
def test_rewards_of_any_dtype(dtype):
    reward = torch.tensor([1, 0, 0, 1, 1, 0]).to(dtype)
    expected = torch.tensor([1.0, 0, 0, 1, 1, 0])
    assert torch.equal(adv.group_centre(reward, 3), adv.group_centre(expected, 3))
    assert torch.equal(adv.group_standardise(reward, 3), adv.group_standardise(expected, 3))
    assert torch.equal(adv.leave_one_out(reward[::2], 3), adv.leave_one_out(expected[::2], 3))
    assert torch.equal(adv.batch_centre(reward), expected - 0.5)
    assert adv.keep_correct(reward).tolist() == adv.keep_best(reward, 1).tolist() == expected.tolist()


def test_no_completions_and_no_tokens():
    for shape in ((0, 3), (2, 0)):
        mask = torch.ones(shape)
        rewards = adv.token_rewards(torch.ones(shape[0]), mask)
        assert rewards.shape == adv.whiten(rewards, mask).shape == losses.token_weights(mask, "token", 3).shape == shape
        assert adv.gae(rewards, rewards, mask, 0.5)[0].shape == shape
    empty = torch.zeros(2, 3)
    assert (adv.whiten(torch.full((2, 3), math.nan), empty) == 0).all()
    assert (adv.smooth(torch.full((2, 3), math.nan), empty, baseline="mean") == 0).all()
    assert working(torch.ones(1, dtype=torch.bfloat16), None) == torch.float32
