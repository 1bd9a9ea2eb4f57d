"""Who draws completions: this process, or vLLM in an environment of its own."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from empg.config import Job
from empg.policy import Policy
from empg.sample import Rollout, generate
from empg.tokens import Tokenizer


class Engine(Protocol):
    """Draws completions from the newest policy that it was given."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        samples: int,
        limit: int,
        uniforms: NDArray[np.float32] | None,
        temperature: float,
    ) -> Rollout:
        """N completions of each prompt; greedy without `uniforms`."""
        ...

    def refresh(self, policy: Policy) -> None:
        """Take over the policy's weights."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Local:
    """Draws with the very model that is trained: nothing to copy."""

    def __init__(self, policy: Policy, tokenizer: Tokenizer) -> None:
        self._lm, self._tokenizer = policy.lm, tokenizer

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        samples: int,
        limit: int,
        uniforms: NDArray[np.float32] | None,
        temperature: float,
    ) -> Rollout:
        """N completions of each prompt, see `empg.sample.generate`."""
        return generate(
            self._lm, prompts, samples=samples, limit=limit, eos=self._tokenizer.eos, pad=self._tokenizer.pad,
            uniforms=uniforms, temperature=temperature,
        )  # fmt: skip

    def refresh(self, policy: Policy) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def engine(job: Job, policy: Policy, tokenizer: Tokenizer) -> Engine:
    """The engine that the job asks for."""
    if job.engine == "vllm":
        from empg.vllm_engine import Vllm

        return Vllm(job, policy, tokenizer)
    return Local(policy, tokenizer)
