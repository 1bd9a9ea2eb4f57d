"""Generation and log-probabilities against the plainest possible loops."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from empg_helpers import uniforms

from septet.empg.engines import Local
from septet.empg.forward import batches, log_probabilities, pack
from septet.empg.policy import Policy
from septet.empg.sample import common, generate, invert
from septet.errors import InputError

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9, 1]]
BEGIN = [7, 3, 11, 2, 5, 5, 13, 1, 0, 4, 12, 6, 8, 17, 9, 10, 3, 3]
ALIKE = [[*BEGIN, *prompt] for prompt in PROMPTS]
"""Prompts that begin alike, as those of a chat do."""
SAME_LENGTH = [prompt[:20] for prompt in ALIKE]
SETS = pytest.mark.parametrize("prompts", [PROMPTS, ALIKE, SAME_LENGTH], ids=["apart", "alike", "alike, same length"])
EOS = PAD = 18
"""End and padding are one token, as in SmolLM2."""


def draw(lm, noise=None, prompts=PROMPTS, samples=4, limit=25, **more):
    return generate(lm, prompts, samples=samples, limit=limit, eos=EOS, pad=PAD, uniforms=noise, **more)


def naive(lm, prompt, noise, limit, temperature=1.0):
    """One completion, token by token, the whole text anew each time."""
    ids, log_pi = list(prompt), []
    for t in range(limit):
        with torch.no_grad():
            logits = lm(input_ids=torch.tensor([ids])).logits[0, -1] / temperature
        p = torch.softmax(logits.double(), -1)
        token = int(p.argmax()) if noise is None else int((p.cumsum(-1) > noise[t] * p.sum()).nonzero()[0])
        ids.append(token)
        log_pi.append(float(p[token].log()))
        if token == EOS:
            break
    return ids[len(prompt) :], log_pi


@SETS
@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("greedy", [False, True])
def test_generation_is_that_of_the_plain_loop(lm, greedy, temperature, prompts):
    noise = None if greedy else uniforms(12, 25)
    rollout = draw(lm, noise, prompts, temperature=temperature)
    for k, tokens in enumerate(rollout.completions()):
        expected, log_pi = naive(lm, prompts[k // 4], None if greedy else noise[k], 25, temperature)
        assert tokens == expected
        assert bool(rollout.finished[k]) == (expected[-1] == EOS)
        assert rollout.log_pi[k, : len(tokens)].tolist() == pytest.approx(log_pi, abs=1e-5)
        assert (rollout.log_pi[k, len(tokens) :] == 0).all()


def test_dropping_finished_rows_changes_nothing(lm):
    noise = uniforms(12, 25)
    often, never = draw(lm, noise, drop=0.0), draw(lm, noise, drop=1.1)
    assert torch.equal(often.tokens, never.tokens) and torch.equal(often.lengths, never.lengths)
    assert torch.allclose(often.log_pi, never.log_pi, atol=1e-6)


def test_some_prompts_after_the_other_give_what_all_at_once_do(lm):
    noise, tokenizer = uniforms(12, 25), SimpleNamespace(ends=(EOS,), pad=PAD)
    whole, parts = (Local(lm, tokenizer, rows).generate(PROMPTS, 4, 25, noise, 1.0) for rows in (100, 1))
    assert parts.prompts == PROMPTS and whole.completions() == parts.completions()
    assert torch.equal(whole.lengths, parts.lengths) and torch.equal(whole.finished, parts.finished)
    assert torch.allclose(whole.log_pi, parts.log_pi, atol=1e-6)


def test_the_end_token_counts_although_it_is_the_padding(lm):
    rollout = draw(lm, uniforms(12, 25))
    ended = rollout.finished.nonzero()[:, 0]
    assert len(ended) > 2
    for k in ended.tolist():
        n = int(rollout.lengths[k])
        assert rollout.tokens[k, n - 1] == EOS and rollout.mask[k].sum() == n and rollout.log_pi[k, n - 1] < 0


@SETS
@pytest.mark.parametrize("row_tokens", [1, 40, 1000])
@pytest.mark.parametrize("batch_tokens", [1, 64, 10_000])
def test_log_probabilities_do_not_depend_on_packing(lm, row_tokens, batch_tokens, prompts):
    rollout = draw(lm, uniforms(12, 25), prompts)
    log_pi, values = log_probabilities(Policy(lm), rollout, row_tokens=row_tokens, batch_tokens=batch_tokens)
    assert values is None
    assert torch.allclose(log_pi, rollout.log_pi, atol=1e-5)


@SETS
def test_gradients_do_not_depend_on_packing(lm, prompts):
    rollout = draw(lm, uniforms(12, 25), prompts)
    weight = torch.randn(rollout.tokens.shape, generator=torch.Generator().manual_seed(1)) * rollout.mask
    policy = Policy(lm)
    found = []
    for row_tokens, batch_tokens in ((1, 1), (1000, 10_000)):
        policy.zero_grad()
        for batch in batches(rollout, row_tokens=row_tokens, batch_tokens=batch_tokens):
            log_pi, _, _ = batch.run(policy, weight.shape[1])
            (weight[batch.members] * log_pi).sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in policy.parameters()]))
    assert torch.allclose(*found, atol=1e-4)


def test_values_and_entropy(lm):
    policy = Policy(lm, critic=True)
    torch.nn.init.normal_(policy.critic.weight)
    rollout = draw(lm, uniforms(12, 25))
    _, values = log_probabilities(policy, rollout)
    k = int(rollout.lengths.argmax())
    prompt, tokens = PROMPTS[k // 4], rollout.completions()[k]
    with torch.no_grad():
        hidden = lm.base_model(input_ids=torch.tensor([prompt + tokens])).last_hidden_state[0]
    start = len(prompt) - 1
    expected = policy.critic(hidden)[start : start + len(tokens), 0]
    assert torch.allclose(values[k, : len(tokens)], expected, atol=1e-4)
    batch = next(batches(rollout, [k]))
    _, entropy, _ = batch.run(policy, rollout.tokens.shape[1], entropy=True)
    p = torch.softmax(lm.lm_head(hidden)[start : start + len(tokens)], -1)
    assert torch.allclose(entropy[0, : len(tokens)], -(p * p.log()).sum(-1), atol=1e-4)


def test_a_head_in_parts_gives_the_same(lm, monkeypatch):
    rollout = draw(lm, uniforms(12, 25))
    gradients = []
    for elements in (1 << 27, 100):
        monkeypatch.setattr("septet.empg.policy.HEAD_ELEMENTS", elements)
        policy = Policy(lm)
        policy.zero_grad()
        for batch in batches(rollout):
            batch.run(policy, rollout.tokens.shape[1], entropy=True)[0].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in policy.parameters()]))
    assert torch.allclose(*gradients, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16, torch.float32])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_policys_mask_has_any_dtype_and_padding_on_either_side(lm, dtype, side):
    """Rows of 3 and 5 tokens; the shorter one's log-probabilities are those it has alone."""
    policy, ids = Policy(lm), torch.tensor([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]])
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    positions = torch.arange(5).expand(2, 5)
    at = (torch.tensor([0, 0]), torch.tensor([0, 1]))
    if side == "left":
        ids, mask = ids.clone(), mask.clone()
        ids[0], mask[0] = torch.tensor([0, 0, 1, 2, 3]), torch.tensor([0, 0, 1, 1, 1])
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        at = (at[0], at[1] + 2)
    targets = torch.tensor([2, 3])
    alone, _, _ = policy(ids[:1, mask[0] == 1], torch.arange(3)[None], None, (at[0], torch.tensor([0, 1])), targets)
    found, _, _ = policy(ids, positions, mask.to(dtype), at, targets)
    assert torch.allclose(found, alone, atol=1e-5)
    tree = (torch.ones(5, 5).tril()[None] * mask[:, None, :] + torch.eye(5)).clamp(max=1)[:, None]
    assert torch.allclose(policy(ids, positions, tree.to(dtype), at, targets)[0], alone, atol=1e-5)
    for wrong in (mask[:, :4], mask[:1], mask * 2, tree[:, 0], tree - 0.5):
        with pytest.raises(InputError, match="mask: expected"):
            policy(ids, positions, wrong, at, targets)


@pytest.mark.parametrize("wrong", [{"prompts": []}, {"prompts": [[1], []]}, {"samples": 0}, {"limit": 0}])
def test_nothing_to_draw_is_one_line(lm, wrong):
    with pytest.raises(InputError, match="generate: expected prompts of a token or more"):
        draw(lm, **wrong)


def test_an_empty_completion_has_nothing_to_compute(lm):
    full = draw(lm, uniforms(12, 25))
    lengths = full.lengths.clone()
    lengths[[0, 5]] = 0
    some = replace(full, lengths=lengths)
    log_pi, _ = log_probabilities(Policy(lm), some)
    assert torch.allclose(log_pi, full.log_pi * some.mask, atol=1e-5)
    assert not list(batches(replace(full, lengths=torch.zeros_like(lengths))))


def test_skipped_completions_are_not_computed():
    rows = pack([5, 3, 4, 2], [6, 7], 2, [1, 2, 3], 1000)
    assert [(row.members, row.length) for row in rows] == [([2, 3], 11), ([1], 8)]


def test_what_all_prompts_begin_with():
    assert common(ALIKE) == common([ALIKE[2], ALIKE[0], ALIKE[1]]) == len(BEGIN)
    assert common([*ALIKE, [*BEGIN, 1]]) == len(BEGIN)
    assert common([*ALIKE, BEGIN]) == len(BEGIN) - 1  # the last token of a prompt is its own: it predicts
    assert common([BEGIN, BEGIN]) == len(BEGIN) - 1
    assert common(PROMPTS) == common(ALIKE[:1]) == common([*ALIKE, BEGIN[:16]]) == 0  # one, or too few


def test_prompts_that_begin_alike_share_a_row():
    rows = pack([5, 3, 4, 2, 6, 6], [23, 21, 22], 2, [0, 1, 3, 4], 100, begin=20)
    assert [(row.members, row.length) for row in rows] == [([0, 1, 3, 4], 23 + 4 + 2 + 1 + 1 + 2 + 5)]
    rows = pack([5, 3, 4, 2, 6, 6], [23, 21, 22], 2, [0, 1, 3, 4], 30, begin=20)
    assert [(row.members, row.length) for row in rows] == [([0, 1], 29), ([3, 4], 29)]


def test_inversion_never_picks_an_impossible_token():
    p = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).repeat(4, 1)
    assert invert(p, torch.tensor([0.0, 0.49, 0.5, 0.9999999])).tolist() == [1, 1, 3, 3]


def test_samples_follow_the_distribution(lm):
    noise = uniforms(20_000, 1)
    rollout = draw(lm, noise, prompts=[[1, 2, 3]], samples=20_000, limit=1)
    with torch.no_grad():
        p = torch.softmax(lm(input_ids=torch.tensor([[1, 2, 3]])).logits[0, -1], -1).numpy()
    share = np.bincount(rollout.tokens[:, 0].numpy(), minlength=20) / 20_000
    assert np.abs(share - p).max() < 5 * np.sqrt(p.max() / 20_000)
