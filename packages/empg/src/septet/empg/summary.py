"""What a run card says of a run beside its settings: what it cost, and some completions before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from septet.empg.models import computes_in
from septet.empg.tokens import Tokenizer

if TYPE_CHECKING:
    from septet.empg.train import Trainer

EXAMPLES = 8


def stride(problems: int) -> int:
    """Distance of the test problems whose completions are kept."""
    return max(1, problems // EXAMPLES)


def cost(trainer: Trainer) -> dict[str, Any]:
    """What the training took, for the run card: memory of this process, and tokens drawn and trained on per second."""
    arrays, (drawing, _, updating) = trainer.history.arrays, trainer.history.arrays["seconds"].sum((0, 1))
    drawn = arrays["step.length"].sum() * trainer.job.task.prompts * trainer.job.samples
    return {
        "processes": trainer.fleet.size,
        "device": torch.cuda.get_device_name(trainer.device) if trainer.device.type == "cuda" else "cpu",
        "dtype": str(computes_in(trainer.job)).removeprefix("torch."),
        "training_memory_mb": round(trainer.meter.peak(), 1) if np.isfinite(trainer.meter.peak()) else None,
        "log_pi_difference_at_start": trainer.agreement,
        "drawn_tokens_per_second": round(float(drawn / drawing), 1),
        "trained_tokens_per_second": round(float(arrays["step.trained"].sum() / updating), 1),
    }


def examples(trainer: Trainer) -> list[dict[str, str]]:
    """Test prompts with the first seed's completions before and after, for tasks in language."""
    if not trainer.language:
        return []
    asked = trainer.questions.test[:: stride(len(trainer.questions.test))]
    before, after = trainer.history.arrays["examples"][:, 0]
    return [
        {
            "prompt": _shown(problem.prompt, trainer.tokenizer),
            "before": trainer.tokenizer.decode(old[old >= 0].tolist()),
            "after": trainer.tokenizer.decode(new[new >= 0].tolist()),
            "answer": problem.answer,
        }
        for problem, old, new in zip(asked, before, after, strict=False)
    ]


def _shown(prompt: str, tokenizer: Tokenizer) -> str:
    """The question of a prompt, without earlier turns and the marks of its chat template."""
    text = tokenizer.decode(tokenizer.encode(prompt))
    return text.rpartition("user\n")[2].removesuffix("assistant\n").strip()
