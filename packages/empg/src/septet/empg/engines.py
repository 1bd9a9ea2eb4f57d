"""Who draws completions: the model that is trained, a whole copy of a sharded one, or vLLM in its own environment."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.empg import models
from septet.empg.config import Job
from septet.empg.decoding import packed
from septet.empg.policy import Policy
from septet.empg.sample import Rollout, generate, join
from septet.empg.shards import whole
from septet.empg.tokens import Tokenizer

Prompts = Sequence[Sequence[int]]
"""Token ids of each prompt."""
Uniforms = NDArray[np.float32] | None
"""A random number for each completion and token; none to draw greedily."""


class Engine(ABC):
    """Draws completions from the newest policy that it was given."""

    @abstractmethod
    def generate(self, prompts: Prompts, samples: int, limit: int, uniforms: Uniforms, temperature: float) -> Rollout:
        """N completions of each prompt."""

    def refresh(self, policy: Policy) -> None:  # noqa: B027  (a hook: most need nothing)
        """Take over the policy's weights; where they are sharded, all processes do so together."""

    def rest(self) -> None:  # noqa: B027  (a hook: most need nothing)
        """Release memory: nothing is drawn until the next `refresh`."""

    def close(self) -> None:  # noqa: B027  (a hook: most need nothing)
        """Release what it holds."""


class Local(Engine):
    """Draws with the very model that is trained: nothing to copy."""

    def __init__(self, lm: Any, tokenizer: Tokenizer, rows: int) -> None:
        self._lm, self._tokenizer, self._rows = lm, tokenizer, rows

    def generate(self, prompts: Prompts, samples: int, limit: int, uniforms: Uniforms, temperature: float) -> Rollout:
        """N completions of each prompt, see `empg.sample.generate`; a few prompts at a time if they are many."""
        parts, size = [], max(1, self._rows // samples)
        with packed(self._lm, min(size, len(prompts)) * samples):
            for first in range(0, len(prompts), size):
                noise = None if uniforms is None else uniforms[first * samples : (first + size) * samples]
                parts.append(
                    generate(
                        self._lm, prompts[first : first + size], samples=samples, limit=limit,
                        eos=self._tokenizer.ends, pad=self._tokenizer.pad, uniforms=noise, temperature=temperature,
                    )
                )  # fmt: skip
        return join(parts)


class Copy(Local):
    """Draws with a whole copy of a sharded model, which is there from a `refresh` to the next `rest`.

    Sharded weights could draw too, but each token would fetch the whole model from the other processes, who would have
    to go on until the longest completion of all is there. Put together once an iteration, in the type that the model
    computes in, each process draws at its own pace.
    """

    def __init__(self, job: Job, tokenizer: Tokenizer) -> None:
        lm, _ = models.load(job)
        super().__init__(lm, tokenizer, job.task.rows)
        self.rest()

    def refresh(self, policy: Policy) -> None:
        """Put the weights together, one after the other."""
        own = dict(self._lm.named_parameters())
        for name, weight in policy.lm.named_parameters():
            own[name].data = whole(weight, dtype=own[name].dtype)

    def rest(self) -> None:
        """Release the weights."""
        for weight in self._lm.parameters():
            weight.data = weight.data.new_empty(0)


def engine(job: Job, policy: Policy, tokenizer: Tokenizer) -> Engine:
    """The engine that the job asks for."""
    if job.engine == "vllm":
        from septet.empg.vllm_engine import Vllm

        return Vllm(job, policy, tokenizer)
    return Copy(job, tokenizer) if job.task.shard == "full" else Local(policy.lm, tokenizer, job.task.rows)
