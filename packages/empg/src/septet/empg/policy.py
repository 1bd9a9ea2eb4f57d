"""The policy: a causal language model of `transformers`, its log-probabilities, and an optional value head."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from septet.empg.families import model_of, vocabulary
from septet.empg.masks import as_booleans
from septet.empg.shards import layers_of, local
from septet.errors import InputError

HEAD_ELEMENTS = 1 << 27
"""Most logits held at once; beyond, the head runs in parts that the backward pass computes again."""


class Policy(nn.Module):
    """pi_theta of one language model.

    Args:
        lm: a causal language model of `transformers`.
        critic: give it a value head on the last hidden state (for PPO).

    Raises:
        InputError: the model is not one of text alone, or a critic is asked of a model without proven hidden states.
    """

    def __init__(self, lm: Any, critic: bool = False) -> None:
        super().__init__()
        self.lm = lm.eval()  # dropout would make the trainer's model another than the sampler's
        self.model = model_of(lm)
        self.critic: nn.Linear | None = None
        if critic:
            if not self.model.plain:
                where, found = f"model {lm.config.model_type}", "another, or a variant of one"
                expected = "a family whose hidden states are tested (septet.empg.families.PLAIN), for a critic"
                raise InputError(where, expected=expected, found=found)
            self.critic = nn.Linear(lm.config.hidden_size, 1).to(next(lm.parameters()))
            for weight in self.critic.parameters():
                nn.init.zeros_(weight)

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        at: tuple[Tensor, Tensor],
        targets: Tensor,
        temperature: float = 1.0,
        entropy: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-probabilities of chosen tokens; logits are computed there and nowhere else.

        Args:
            ids, positions: ``(R, T)``, tokens and their positions.
            mask: what each token may look at: ``(R, 1, T, T)``, ``(R, T)`` for causal rows with padding, or none; 0 and
                1 of any dtype. Padding at the start needs `positions` that leave it out.
            at: rows and columns ``(n,)`` of the hidden states that predict the targets.
            targets: ``(n,)``, the predicted tokens.
            temperature: that of the sampling.
            entropy: also the entropy of each prediction.

        Returns:
            log pi ``(n,)``, entropy ``(n,)`` or none, value ``(n,)`` or none, all float32.

        Raises:
            InputError: the mask has another shape, or values other than 0 and 1.
        """
        if mask is not None:
            rows, width = ids.shape
            mask = as_booleans(mask, (rows, width) if mask.dim() == 2 else (rows, 1, width, width))
        if not self.model.plain:
            return *self._likelihoods(self._own(ids, positions, mask)[at], targets, temperature, entropy), None
        states = self.model.lm.base_model(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state[at]
        values = self.critic(states).squeeze(-1).float().clone() if self.critic is not None else None
        part = max(1, HEAD_ELEMENTS // vocabulary(self.model.lm))
        if len(states) <= part:
            log_pi, spread = self._predict(states, targets, temperature, entropy)
        else:
            parts = [
                checkpoint(self._predict, some, goal, temperature, entropy, use_reentrant=False)
                for some, goal in zip(torch.split(states, part), torch.split(targets, part), strict=True)
            ]
            log_pi = torch.cat([one[0] for one in parts])
            spread = torch.cat([one[1] for one in parts]) if entropy else None
        return log_pi, spread, values

    def room(self, row_tokens: int, batch_tokens: int) -> dict[str, int]:
        """Limits of a row's and a batch's tokens that fit the model: rows with one completion where it is not plain."""
        if self.model.plain:
            return {"row_tokens": row_tokens, "batch_tokens": batch_tokens}
        return {"row_tokens": 1, "batch_tokens": min(batch_tokens, max(1, HEAD_ELEMENTS // vocabulary(self.model.lm)))}

    def _own(self, ids: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Logits ``(R, T, V)`` of the model's own forward pass."""
        lm = self.model.lm
        if mask is not None and mask.dim() == 4:
            where, found = f"model {lm.config.model_type}", "rows packed with our attention mask"
            raise InputError(where, expected="one completion a row (row_tokens of Policy.room)", found=found)
        seen = torch.ones_like(ids) if mask is None else mask.long()
        more = {"position_ids": positions} if self.model.takes_positions else {}
        logits: Tensor = lm(input_ids=ids, attention_mask=seen, use_cache=False, **more).logits
        return logits

    def _predict(
        self, states: Tensor, targets: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor | None]:
        return self._likelihoods(self.model.lm.get_output_embeddings()(states), targets, temperature, entropy)

    @staticmethod
    def _likelihoods(
        logits: Tensor, targets: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor | None]:
        logits = logits.float()
        if temperature != 1.0:
            logits = logits / temperature
        log_pi = -functional.cross_entropy(logits, targets, reduction="none")
        if not entropy:
            return log_pi, None
        log_p = torch.log_softmax(logits, -1)
        return log_pi, -(log_p.exp() * log_p).sum(-1)


def checkpoint_layers(lm: Any) -> None:
    """Have a model's layers compute themselves again in the backward pass, so that only their inputs are kept.

    The library's own switch asks for training mode, where dropout is on; and it would take the cache from generation.
    Passes without gradients are as before.
    """
    for layer in layers_of(model_of(lm).lm):
        layer.forward = partial(_checkpointed, layer.forward)


def _checkpointed(forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    if torch.is_grad_enabled():
        return checkpoint(forward, *inputs, use_reentrant=False, **named)
    return forward(*inputs, **named)


class Masters:
    """float32 master weights of a model that computes in bfloat16, and their gradients.

    Steps of 1e-6 vanish in bfloat16's rounding; here the optimiser moves float32 weights, and the model
    holds their rounded copy. A gradient goes to its master as soon as it is there, so that the parts of a
    batch add up in float32. For a float32 model the masters are its own parameters; for a sharded one (`empg.shards`)
    they are this process's parts of them.
    """

    def __init__(self, module: nn.Module) -> None:
        trained = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
        self.names, self.models = list(trained), list(trained.values())
        self.sharded = any(isinstance(weight, DTensor) for weight in self.models)
        self.split = any(weight.dtype != torch.float32 for weight in self.models)
        self.weights = self.models
        if self.sharded:
            self.weights = [nn.Parameter(local(weight)) for weight in self.models]
        elif self.split:
            self.weights = [nn.Parameter(weight.detach().float().clone()) for weight in self.models]
        self._hooks = [
            weight.register_post_accumulate_grad_hook(_handing_to(master))  # type: ignore[no-untyped-call]
            for weight, master in zip(self.models, self.weights, strict=True)
            if self.split
        ]

    def each(self) -> Iterator[tuple[str, nn.Parameter, nn.Parameter]]:
        """Name, model's weight and master of each weight that is trained."""
        return zip(self.names, self.models, self.weights, strict=True)

    def collect(self) -> None:
        """See that every master has its gradient; one that is not there counts as 0."""
        for weight, master in zip(self.models, self.weights, strict=True):
            if self.sharded and weight.grad is not None:
                master.grad = local(weight.grad)
            if master.grad is None:
                master.grad = torch.zeros_like(master)

    def forget(self) -> None:
        """Let go of all gradients."""
        for weight in (*self.models, *self.weights):
            weight.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the model."""
        if self.split:
            for weight, master in zip(self.models, self.weights, strict=True):
                weight.copy_(master)

    def release(self) -> None:
        """Let go of the model's gradients."""
        for hook in self._hooks:
            hook.remove()


def _handing_to(master: nn.Parameter) -> Any:
    def hand(weight: Tensor) -> None:
        assert weight.grad is not None
        if master.grad is None:
            master.grad = weight.grad.float()
        else:
            master.grad += weight.grad
        weight.grad = None

    return hand
