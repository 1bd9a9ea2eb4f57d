"""Drawing completions: one prefill per prompt, finished rows dropped, log-probabilities kept."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from septet.empg.decoding import RoomyLayer
from septet.empg.families import Model, model_of
from septet.errors import InputError

SHARED = 16
"""From this length on, tokens with which all prompts begin are read once; below, it is not worth a pass."""

IN_CACHE = 1 << 18
"""Probabilities that are turned into tokens at a time: 1 MB of them."""


def common(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with, such as those of a chat's worked examples; each prompt has at least one more.

    It is 0 for a single prompt, and where they are too few to matter.
    """
    if len(prompts) < 2:
        return 0
    in_order = sorted(map(list, prompts))  # what first and last share, all share
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(in_order[0], in_order[-1], strict=False)))
    length = min(same, min(map(len, prompts)) - 1)
    return length if length >= SHARED else 0


@dataclass(frozen=True)
class Rollout:
    """K completions, N to each of B prompts, those of one prompt next to each other."""

    prompts: list[list[int]]
    """Token ids of the B prompts."""
    samples: int
    """N."""
    tokens: Tensor
    """``(K, L)``, token ids of the completions, end token included; padded at the end."""
    lengths: Tensor
    """``(K,)``, tokens of each completion, end token included."""
    log_pi: Tensor
    """``(K, L)`` float32, log-probability of each token under the policy that drew it; 0 on padding."""
    finished: Tensor
    """``(K,)``, whether the completion ended by itself."""

    @property
    def mask(self) -> Tensor:
        """``(K, L)`` float32: 1 on a completion's own tokens. Made from lengths: the end token may be the padding."""
        return (torch.arange(self.tokens.shape[1], device=self.tokens.device) < self.lengths[:, None]).float()

    def completions(self) -> list[list[int]]:
        """The completions as lists of token ids."""
        return [row[:n] for row, n in zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)]


def join(parts: Sequence[Rollout]) -> Rollout:
    """Rollouts with the same N, one after the other."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.tokens.shape[1] for part in parts)
    tokens, log_pi = (
        torch.cat([functional.pad(getattr(part, name), (0, width - part.tokens.shape[1])) for part in parts])
        for name in ("tokens", "log_pi")
    )
    lengths, finished = (torch.cat([getattr(part, name) for part in parts]) for name in ("lengths", "finished"))
    prompts = [prompt for part in parts for prompt in part.prompts]
    return Rollout(prompts, parts[0].samples, tokens, lengths, log_pi, finished)


def generate(
    lm: Any,
    prompts: Sequence[Sequence[int]],
    *,
    samples: int,
    limit: int,
    eos: int | Sequence[int],
    pad: int,
    uniforms: NDArray[np.float32] | None,
    temperature: float = 1.0,
    drop: float = 0.2,
) -> Rollout:
    """Draw N completions of each prompt.

    What all prompts begin with is read once, then the rest of each prompt once, and its keys and values are
    shared out to its completions. Rows that have ended leave the batch as soon as they are the share `drop`
    of it. Random numbers come in an array, one for each completion and token, so that a completion does not
    depend on which rows are still there.

    Args:
        lm: a causal language model of `transformers`, with an adapter of peft or without; its dropout is switched off.
        prompts: B lists of token ids, of one token at least.
        samples: N.
        limit: most tokens of a completion.
        eos: end token, or several of which any ends a completion.
        pad: filler token.
        uniforms: ``(B N, limit)`` in [0, 1), inverted through the cumulative distribution; none is greedy.
        temperature: divides the logits.
        drop: share of ended rows at which they are dropped.

    Raises:
        InputError: a prompt is empty, the model is not one of text alone, or keeps a state that cannot be shared out
            to completions.
    """
    if not prompts or not all(map(len, prompts)) or min(samples, limit) < 1:
        found = f"prompts of {[len(prompt) for prompt in prompts]} tokens, samples {samples}, limit {limit}"
        raise InputError("generate", expected="prompts of a token or more, samples and limit of 1 or more", found=found)
    if lm.training:
        lm.eval()
    ends = (eos,) if isinstance(eos, int) else tuple(eos)
    drawn = _draw(model_of(lm), prompts, samples, limit, ends, pad, uniforms, temperature, drop)
    return Rollout([list(prompt) for prompt in prompts], samples, *(array.cpu().clone() for array in drawn))


@torch.inference_mode()
def _draw(
    model: Model,
    prompts: Sequence[Sequence[int]],
    samples: int,
    limit: int,
    ends: tuple[int, ...],
    pad: int,
    uniforms: NDArray[np.float32] | None,
    temperature: float,
    drop: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens, lengths, log-probabilities and ends of `generate`."""
    lm = model.lm
    device = next(lm.parameters()).device
    cache, begin = _cache(lm), common(prompts) if model.plain else 0
    if begin:
        lm.base_model(
            input_ids=torch.tensor(prompts[0][:begin], device=device)[None],
            position_ids=torch.arange(begin, device=device)[None],
            past_key_values=cache,
            use_cache=True,
        )
        cache.batch_repeat_interleave(len(prompts))
    own = [prompt[begin:] for prompt in prompts]
    longest = max(map(len, own))
    ids = torch.full((len(prompts), longest), pad, dtype=torch.long)
    for row, prompt in enumerate(own):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
    own_length = torch.tensor([len(prompt) for prompt in own])
    ragged = bool((own_length < longest).any())
    gone = longest - own_length[:, None]
    seen = functional.pad(torch.arange(longest) >= gone, (begin, 0), value=True)
    positions = (torch.arange(longest) - gone).clamp(min=0) + begin

    logits = _next(model, ids.to(device), seen.to(device), ragged, positions.to(device), cache)
    if samples > 1:
        cache.batch_repeat_interleave(samples)
    logits = logits.repeat_interleave(samples, 0)
    count = len(prompts) * samples
    seen = seen.repeat_interleave(samples, 0).to(device)
    position = (begin + own_length).repeat_interleave(samples).to(device)
    draws = None if uniforms is None else torch.from_numpy(np.ascontiguousarray(uniforms.T)).to(device)

    tokens = torch.full((limit, count), pad, dtype=torch.long, device=device)
    log_pi = torch.zeros(limit, count, device=device)
    alive = torch.arange(count, device=device)  # the completion in each row of the batch
    over = torch.zeros(count, dtype=torch.bool, device=device)  # rows that have ended; they run on until dropped
    for t in range(limit):
        chosen, log_chosen = choose(logits, temperature, None if draws is None else draws[t][alive])
        tokens[t].index_copy_(0, alive, chosen)
        log_pi[t].index_copy_(0, alive, log_chosen)
        over |= _ended(chosen, ends)
        left = len(alive) - int(over.sum())
        if left == 0 or t == limit - 1:
            break
        if left <= (1 - drop) * len(alive):
            rows = (~over).nonzero()[:, 0]
            alive, chosen, seen, position, over = alive[rows], chosen[rows], seen[rows], position[rows], over[rows]
            cache.batch_select_indices(rows)
        if ragged or not model.plain:
            seen = torch.cat([seen, torch.ones_like(seen[:, :1])], 1)
        logits = _next(model, chosen[:, None], seen, ragged, position[:, None], cache)
        position = position + 1
    return _trim(tokens.T, log_pi.T, ends, pad)


def _cache(lm: Any) -> DynamicCache:
    """An empty cache, for a model whose layers all keep keys and values."""
    if "past_key_values" in inspect.signature(type(lm).forward).parameters:
        cache = DynamicCache(config=lm.config)
        cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        if all(hasattr(layer, "batch_repeat_interleave") for layer in cache.layers):
            return cache
    expected = "layers with a key-value cache that completions of a prompt can share"
    raise InputError(f"model {lm.config.model_type}", expected=expected, found="a recurrent state")


def _next(model: Model, ids: Tensor, seen: Tensor, ragged: bool, positions: Tensor, cache: DynamicCache) -> Tensor:
    """Logits after the last token of each row; keys and values of all go into the cache."""
    if model.plain:
        states = model.lm.base_model(
            input_ids=ids,
            attention_mask=seen if ragged else None,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[:, -1]
        logits: Tensor = model.lm.get_output_embeddings()(states)
        return logits
    more = {"position_ids": positions} if model.takes_positions else {}
    found: Tensor = model.lm(
        input_ids=ids, attention_mask=seen.long(), past_key_values=cache, use_cache=True, logits_to_keep=1, **more
    ).logits[:, -1]
    return found


def _ended(tokens: Tensor, ends: tuple[int, ...]) -> Tensor:
    """Which tokens end a completion."""
    found = tokens == ends[0]
    for end in ends[1:]:
        found |= tokens == end
    return found


def _trim(tokens: Tensor, log_pi: Tensor, stops: tuple[int, ...], pad: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens, lengths, log-probabilities and ends, from what was drawn without regard to ends: ``(K, limit)`` each.

    Rows that were dropped hold padding from there on; all ended before, so that the first end counts.
    """
    ends = _ended(tokens, stops)
    finished = ends.any(1)
    lengths = torch.where(finished, ends.int().argmax(1) + 1, tokens.shape[1])
    width = int(lengths.max())
    own = torch.arange(width, device=tokens.device) < lengths[:, None]
    return torch.where(own, tokens[:, :width], pad), lengths, torch.where(own, log_pi[:, :width], 0.0), finished


def choose(logits: Tensor, temperature: float, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """A token for each row, and its log-probability; some rows at a time, whose probabilities fit a processor's cache.

    Args:
        logits: ``(k, V)``, divided by `temperature`.
        uniform: ``(k,)`` in [0, 1), see `invert`; none for the most probable token.
    """
    size = max(1, IN_CACHE // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    chosen, log_chosen = [], []
    for first in range(0, len(logits), size):
        some = logits[first : first + size].float()
        log_p = torch.log_softmax(some if temperature == 1 else some / temperature, -1)
        token = log_p.argmax(-1) if uniform is None else invert(log_p.exp(), uniform[first : first + size])
        chosen.append(token)
        log_chosen.append(log_p.gather(-1, token[:, None])[:, 0])
    return torch.cat(chosen), torch.cat(log_chosen)


def invert(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The token at which the cumulative distribution passes `uniform`, row by row; never one of probability 0.

    Args:
        probabilities: ``(k, V)``.
        uniform: ``(k,)`` in [0, 1).
    """
    cumulative = probabilities.cumsum(-1)
    level = uniform.to(cumulative.dtype) * cumulative[:, -1]  # rounding may leave the sum a little off 1
    return torch.searchsorted(cumulative, level[:, None], right=True)[:, 0].clamp(max=probabilities.shape[1] - 1)
