"""The `prepare` verb: tables of problems, dequantised models, and tiny bases from their recipe."""

from pathlib import Path

from septet.empg.config import Preparation


def prepare(config: Preparation, out: Path) -> None:
    """Write OUT/<name>.parquet or OUT/<name>.safetensors."""
    if config.name in ("gsm8k", "math", "math5"):
        from septet.empg import datasets

        datasets.prepare(config, out)
    elif config.name in ("smollm2", "qwencoder"):
        from septet.empg import models

        models.prepare_gguf(config.name, out)
    else:
        import torch

        from septet.empg import tiny

        torch.set_num_threads(1)
        tiny.save(tiny.train_base(config.name, config.root_seed, config.base_steps), out / f"{config.name}.safetensors")
