"""Several processes that share each batch, started by `septet.empg.launch`, `torchrun` or `accelerate launch`.

Each process draws, grades and differentiates its own prompts; completions, rewards and gradients are then put together,
so that the statistics of the whole batch are those of one process and all take the same step. Random numbers belong to
a completion, not to a process: the number of processes changes rounding only. A process holds the whole model, or, with
`shard: full`, its part of it (`septet.empg.shards`).
"""

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import distributed

from septet.empg.policy import Masters
from septet.empg.sample import Rollout, join

Item = TypeVar("Item")


class Fleet:
    """This process among those of a launch; alone where none was launched."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.local = int(os.environ.get("LOCAL_RANK", "0"))
        if self.size > 1 and not distributed.is_initialized():
            if torch.cuda.is_available():
                torch.cuda.set_device(self.local)
            distributed.init_process_group("cuda:nccl,cpu:gloo" if torch.cuda.is_available() else "gloo")

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def bounds(self, count: int) -> tuple[int, int]:
        """First and last (exclusive) of this process's share of `count` items that lie next to each other."""
        return self.rank * count // self.size, (self.rank + 1) * count // self.size

    def gather(self, own: Sequence[Item]) -> list[Item]:
        """All processes' items, in the order of their shares."""
        if self.size == 1:
            return list(own)
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, list(own))
        return [item for part in parts for item in part]

    def gather_rollout(self, own: Rollout) -> Rollout:
        """The completions of all prompts out of those of each process's own."""
        return own if self.size == 1 else join(self.gather([own]))

    def own(self, keep: Sequence[int], rollout: Rollout) -> list[int]:
        """Those of the completions `keep` that answer this process's share of the prompts."""
        first, last = self.bounds(len(rollout.prompts))
        return [k for k in keep if first <= k // rollout.samples < last]

    def add(self, *arrays: torch.Tensor | None) -> None:
        """Sum arrays over the processes, in place."""
        for array in arrays:
            if self.size > 1 and array is not None:
                distributed.all_reduce(array)

    def add_gradients(self, masters: Masters) -> None:
        """Sum the gradients over the processes; those of sharded weights are summed already."""
        masters.collect()
        if not masters.sharded:
            self.add(*(weight.grad for weight in masters.weights))

    def clip(self, masters: Masters, limit: float) -> float:
        """Scale the gradient to a norm of at most `limit`; its norm before."""
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in masters.weights if weight.grad is not None])
        if masters.sharded:
            square = norm**2
            self.add(square)
            norm = square.sqrt()
        torch.nn.utils.clip_grads_with_norm_(masters.weights, limit, norm)
        return float(norm)

    def most(self, count: int) -> int:
        """The largest of the processes' counts."""
        return count if self.size == 1 else max(self.gather([count]))

    def any(self, mine: bool) -> bool:
        """Whether it holds in any process."""
        return mine if self.size == 1 else any(self.gather([mine]))

    def close(self) -> None:
        """Leave."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()
