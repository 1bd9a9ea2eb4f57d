"""How much memory training needs, apart from what Python and its libraries hold."""

import re
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Meter:
    """Highest memory from its creation on: of the GPU if the job has one, else of the process above what it held then.

    Made before the model is loaded, so that weights, reference, critic, Adam's moments and activations all count.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._before = device, float("nan")
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif STATUS.is_file():
            self._before = _megabytes("VmRSS")
            try:
                # the highest since now, not since the start: imports took more for a moment
                RESET.write_text("5", encoding="utf-8")
            except OSError:
                self._before = float("nan")

    def peak(self) -> float:
        """MB; not a number where the system does not tell."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        above = _megabytes("VmHWM") - self._before
        return above if above != above else max(0.0, above)  # the kernel counts in batches: a little below is nothing


def _megabytes(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text(encoding="utf-8"))
    return int(found[1]) / 1024 if found else float("nan")
