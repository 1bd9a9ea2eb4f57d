"""EMPG for those who stay with TRL: its GRPOTrainer with EMPG's weights and loss (needs `trl`).

`EMPGTrainer(model, reward_funcs, EMPGConfig(...), train_dataset=...)` takes what GRPOTrainer takes. Two things differ.
A completion's advantage is that of EMPG, from the rewards of the whole batch over all processes, not of its
prompt's group. The loss has log-probabilities in place of importance ratios, so that nothing is clipped. Generation,
rewards, logging and checkpoints are TRL's. TRL's settings that change the loss otherwise are rejected.
"""

import importlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from septet.empg import losses
from septet.empg.advantages import smooth, whiten
from septet.errors import InputError

trl: Any = importlib.import_module("trl")
AVERAGES = {"grpo": "sequence", "dr_grpo": "constant"}
"""TRL's names of the averages over tokens that can be had, see `septet.empg.losses.token_weights`."""
FIXED = {
    "importance_sampling_level": "token", "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None,
    "use_liger_kernel": False, "multi_objective_aggregation": "sum_then_normalize", "use_vllm": False,
    "use_bias_correction_kl": False,
}  # fmt: skip
"""Settings of TRL that mean something else for EMPG's loss, or nothing, and the only value that is taken."""


TEXT = {
    "prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch",
    "old_per_token_logps", "ref_per_token_logps", "tool_mask",
}  # fmt: skip
"""What TRL puts into a batch of text; a model of images gets more, which this loss would drop."""


@dataclass
class EMPGConfig(trl.GRPOConfig):  # type: ignore[misc]
    """TRL's GRPOConfig with the average of the paper's code, and the KL term as it is."""

    loss_type: str = field(default="grpo", metadata={"help": "grpo: each completion's mean; dr_grpo: its sum."})
    use_bias_correction_kl: bool = field(default=False, metadata={"help": "The KL term has no importance ratio."})


class EMPGTrainer(trl.GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPOTrainer with EMPG's advantages and loss (Xu 2025, equations 10 to 12).

    Raises:
        InputError: a setting of TRL that this loss does not have.
    """

    def __init__(self, model: Any, reward_funcs: Any = None, args: Any = None, **named: Any) -> None:
        super().__init__(model, reward_funcs, args or EMPGConfig("empg"), **named)
        if self.args.loss_type not in AVERAGES:
            raise InputError("args.loss_type", expected=f"one of {', '.join(AVERAGES)}", found=self.args.loss_type)
        for name, value in FIXED.items():
            if (found := getattr(self.args, name, value)) != value:
                raise InputError(f"args.{name}", expected=f"{value}, for EMPG's loss", found=found)
        for name in ("use_adaptive_entropy", "aux_loss_enabled"):
            if getattr(self, name):
                raise InputError(name, expected="false, for EMPG's loss", found="true")

    def _calculate_rewards(self, *arguments: Any, **named: Any) -> Tensor:
        """Keep the rewards of all processes: TRL hands on advantages alone."""
        self._rewards: Tensor = super()._calculate_rewards(*arguments, **named)
        return self._rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """Put EMPG's advantages in place of GRPO's, in the batch and in the log."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        every = empg_advantages(self._rewards, self.reward_weights.to(self._rewards.device))
        count = len(batch["advantages"])
        first = self.accelerator.process_index * count
        batch["advantages"] = every[first : first + count]
        logged = self._logs["advantages"]
        for _ in range(min(len(every), len(logged))):
            logged.pop()
        logged.extend(every.tolist())
        return batch

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """``- sum w A log pi + beta sum w k3 - eta sum w H``, each term as in `septet.empg.losses`."""
        if more := inputs.keys() - TEXT:
            raise InputError("batch", expected=f"prompts of text, {', '.join(sorted(TEXT))}", found=sorted(more))
        mask = inputs["completion_mask"]
        if "tool_mask" in inputs:
            mask = mask * inputs["tool_mask"]
        log_pi, entropy, _ = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
            inputs["completion_ids"].size(1),
            compute_entropy=True,
        )
        weights = losses.token_weights(mask, AVERAGES[self.args.loss_type], self.max_completion_length)
        loss = losses.log_likelihood_loss(log_pi, inputs["advantages"][:, None], weights)
        mode = "train" if self.model.training else "eval"
        if self.beta:
            kl = losses.kl_loss(log_pi, inputs["ref_per_token_logps"], weights)
            loss = loss + self.beta * kl
            self._metrics[mode]["kl"].append(self.accelerator.gather(kl.detach()).mean().item())
        spread = losses.entropy_bonus(entropy, weights)
        if self.entropy_coef:
            loss = loss - self.entropy_coef * spread
        self._metrics[mode]["entropy"].append(self.accelerator.gather(spread.detach()).mean().item())
        return loss / (self.current_gradient_accumulation_steps if mode == "train" else 1)


def empg_advantages(rewards: Tensor, weights: Tensor) -> Tensor:
    """EMPG's advantages ``(K,)`` from rewards ``(K, functions)``, NaN where a function has no opinion.

    A completion of which no function has one does not count, and its advantage is 0.
    """
    counted = ~torch.isnan(rewards).all(1)
    z = whiten((rewards * weights).nansum(1), counted, bessel=False)
    return smooth(z, counted)
