"""How much memory training needs: an estimate before, the measured peak after."""

import re
from pathlib import Path
from typing import Any

import torch

from septet.empg.families import vocabulary
from septet.empg.policy import HEAD_ELEMENTS, Policy

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEMORY = Path("/proc/meminfo")
USED = 0.8
"""Share of the free memory that a batch may take."""


def activation_bytes(config: Any, dtype: torch.dtype, checkpointed: bool = False) -> int:
    """Bytes that the layers keep of a token for the backward pass; an upper bound for models of Llama's shape.

    In each layer 4 arrays of the feed-forward's width and 14 of the model's, norms in float32 counted as two; with
    `checkpointed` layers the input of each, and one layer whole.
    """
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    layer, layers = 4 * inner + 14 * config.hidden_size, config.num_hidden_layers
    return int(dtype.itemsize * (layers * config.hidden_size + layer if checkpointed else layers * layer))


def batch_tokens(policy: Policy, checkpointed: bool, device: torch.device) -> int:
    """Most tokens of a batch whose activations fit the free memory, once gradients, Adam and logits have their part."""
    lm = policy.model.lm
    if device.type == "cuda":
        free = float(torch.cuda.mem_get_info(device)[0])
    else:
        free = _megabytes(MEMORY, "MemAvailable", 0.0) * 2**20
    trained = sum(weight.numel() for weight in policy.parameters() if weight.requires_grad)
    logits = 3 * 4 * (HEAD_ELEMENTS + vocabulary(lm))  # logits, their softmax and its gradient
    left = USED * free - 12 * trained - logits
    return max(1, int(left / activation_bytes(lm.config, next(lm.parameters()).dtype, checkpointed)))


class Meter:
    """Highest memory from its creation on: of the GPU if the job has one, else of the process above what it held then.

    Made before the model is loaded, so that weights, reference, critic, Adam's moments and activations all count.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._before = device, float("nan")
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            self._before = _megabytes(STATUS, "VmRSS")
            try:
                # the highest since now, not since the start: imports took more for a moment
                RESET.write_text("5", encoding="utf-8")
            except OSError:
                self._before = float("nan")

    def peak(self) -> float:
        """MB; not a number where the system does not tell."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        above = _megabytes(STATUS, "VmHWM") - self._before
        return above if above != above else max(0.0, above)  # the kernel counts in batches: a little below is nothing


def _megabytes(file: Path, name: str, otherwise: float = float("nan")) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", file.read_text(encoding="utf-8") if file.is_file() else "")
    return int(found[1]) / 1024 if found else otherwise
