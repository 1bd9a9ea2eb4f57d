"""At the start of a run: the sampler, the trainer and the model itself must agree on a few completions.

With one inner step the first KL(old || new) is exactly this difference; where it is not small, the update learns from
another model than the one that drew.
"""

import torch

from septet.empg.engines import Engine, Prompts
from septet.empg.forward import log_probabilities
from septet.empg.policy import Policy
from septet.empg.sample import Rollout
from septet.errors import InputError
from septet.seeding import stream

BOUND = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Largest mean difference of log pi per token, by what the model computes in."""
PROMPTS, SAMPLES, TOKENS = 2, 2, 24


def check_log_probabilities(
    engine: Engine, policy: Policy, prompts: Prompts, *, limit: int, temperature: float, row_tokens: int,
    batch_tokens: int, whole: bool, name: str, computes_in: torch.dtype,
) -> float:  # fmt: skip
    """Compare log-probabilities of a few completions; the largest mean difference per token.

    Args:
        engine, policy: the sampler, and the trainer's model.
        prompts: of the task; the first few are used.
        limit: most tokens of a completion.
        row_tokens, batch_tokens: how the trainer packs.
        whole: the policy's weights are not sharded, so that the model itself can be asked too.
        name: the model, for the message.
        computes_in: type of the passes.

    Raises:
        InputError: they differ by more than the bound, or the model cannot be computed.
    """
    asked, limit = [list(prompt) for prompt in prompts[:PROMPTS]], min(limit, TOKENS)
    uniforms = stream(0, "check").random((len(asked) * SAMPLES, limit), dtype="float32")
    try:
        rollout = engine.generate(asked, SAMPLES, limit, uniforms, temperature)
        trained, _ = log_probabilities(
            policy, rollout, temperature=temperature, row_tokens=row_tokens, batch_tokens=batch_tokens
        )
        pairs = {"sampler and trainer": (rollout.log_pi, trained)}
        if whole:
            own = own_log_probabilities(policy, rollout, temperature)
            pairs["sampler and the model itself"] = rollout.log_pi, own
            pairs["trainer and the model itself"] = trained, own
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise InputError(f"model {name}", expected="a model that can be sampled and trained", found=found) from error
    bound, worst = BOUND[computes_in], 0.0
    for who, (one, other) in pairs.items():
        gap = float(((one - other).abs() * rollout.mask).sum() / rollout.mask.sum())
        if not gap <= bound:
            expected = f"log-probabilities of {who} that differ by at most {bound} a token"
            raise InputError(f"model {name}", expected=expected, found=f"{gap:.3g}")
        worst = max(worst, gap)
    return worst


@torch.no_grad()
def own_log_probabilities(policy: Policy, rollout: Rollout, temperature: float) -> torch.Tensor:
    """log pi by the model's own forward pass, ``(K, L)``: a completion at a time, no padding, cache or mask."""
    lm, device = policy.model.lm, next(policy.parameters()).device
    found = torch.zeros(rollout.tokens.shape)
    for k, tokens in enumerate(rollout.completions()):
        prompt = rollout.prompts[k // rollout.samples]
        logits = lm(input_ids=torch.tensor([prompt + tokens], device=device), use_cache=False).logits[0].float()
        log_p = torch.log_softmax(logits[len(prompt) - 1 : -1] / temperature, -1).cpu()
        found[k, : len(tokens)] = log_p.gather(1, torch.tensor(tokens)[:, None])[:, 0]
    return found
