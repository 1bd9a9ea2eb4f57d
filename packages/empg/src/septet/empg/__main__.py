"""`python -m septet.empg prepare|train|generate|evaluate|bench`."""

import os
from pathlib import Path

from septet.cli import Verb, main
from septet.empg.config import Job, Preparation

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def _prepare(config: Preparation, out: Path) -> None:
    """Check a data set, dequantise a model, or train a tiny base."""
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


def _train(config: Job, out: Path) -> None:
    """Run one method on one task, all seeds."""
    from septet.empg.models import without_bars
    from septet.empg.train import train

    without_bars()
    train(config, out)


if __name__ == "__main__":
    main(
        "empg",
        {"prepare": Verb(Preparation, _prepare), "train": Verb(Job, _train)},
        "septet.empg.bench",
        programs={name: f"septet.empg.{name}_command" for name in ("generate", "evaluate")},
    )
