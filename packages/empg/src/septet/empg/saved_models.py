"""What a job leaves to use: `model/best` and `model/last`, folders that `transformers` loads, with a model card.

While the job runs, the weights of the best evaluation so far and of the last one are files beside its checkpoints. The
folders are made of them at the end, all at once, so that a resumed job leaves the same bytes and a stopped one nothing.
An evaluation and its files precede the checkpoint that contains it: after a resume they are written again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from septet.card import RunCard
from septet.empg.adapters import adapter_weights, is_adapted, merged, write_adapter
from septet.empg.config import Gguf, Hub, Job
from septet.empg.gguf_files import FILES
from septet.empg.models import computes_in
from septet.empg.shards import whole
from septet.files import replacing, replacing_folder, sha256, write_text

if TYPE_CHECKING:
    from septet.empg.train import Trainer

FOLDER, WEIGHTS, ADAPTER = "model", "model.safetensors", "adapter"
KINDS = {"best": "the best evaluation of one seed, the first such one", "last": "the last step of one seed"}


def seeds_kept(job: Job) -> list[int]:
    """The seeds whose models are kept."""
    return {"none": [], "first": job.seeds[:1], "all": list(job.seeds)}[job.keep_model]


def keep(trainer: Trainer, scratch: Path) -> None:
    """Write the weights to `scratch` if the evaluation that was just made is the best so far, or the seed's last.

    Where weights are sharded all processes have to call it; the one that writes files does.
    """
    if trainer.step == 0 or trainer.number not in seeds_kept(trainer.job):
        return
    point = trainer.history.points.index(trainer.step)
    scores = trainer.history.scores(trainer.seed)[1 : point + 1]
    best = not (scores[:-1] >= scores[-1]).any()
    kinds = [kind for kind, due in (("best", best), ("last", trainer.step == trainer.job.task.steps)) if due]
    if not kinds:
        return
    weights, dtype = {}, computes_in(trainer.job)
    for name, part in merged(trainer.policy.lm):
        weight = whole(part, dtype=dtype)  # in all processes
        if trainer.fleet.leads:
            weights[name] = weight.cpu()
    if not trainer.fleet.leads:
        return
    about = {"step": str(trainer.step), "score": repr(float(scores[-1]))}
    parts = {"": weights, f".{ADAPTER}": adapter_weights(trainer.policy.lm)}
    for kind in kinds:
        for suffix, tensors in parts.items():
            if tensors:
                with replacing(scratch / f"{kind}-{trainer.number}{suffix}.safetensors") as temporary:
                    save_file({name: one.cpu().contiguous() for name, one in tensors.items()}, temporary, about)


class Models:
    """The folders of a finished job below `out`, of what `keep` wrote to `scratch`."""

    def __init__(self, trainer: Trainer, scratch: Path, out: Path) -> None:
        self.trainer, self.scratch, self.out = trainer, scratch, out
        seeds = seeds_kept(trainer.job)
        self.places = {
            kind if len(seeds) == 1 else f"seed-{seed}/{kind}": (kind, seed) for seed in seeds for kind in KINDS
        }
        """Path of each model below the folder of models -> its kind and seed."""

    def described(self) -> dict[str, dict[str, Any]]:
        """For the run card: seed, step, score and SHA-256 of the weights of each model, by its path."""
        found = {}
        for place, (kind, seed) in self.places.items():
            with safe_open(self.scratch / f"{kind}-{seed}.safetensors", "pt") as opened:
                about = opened.metadata()
            score = float(about["score"])
            found[place] = {"seed": seed, "step": int(about["step"]), "score": score if np.isfinite(score) else None}
        return found

    def write(self, card: RunCard) -> None:
        """Write the folders, with model cards made from the run card; remove those of an earlier job."""
        if not self.places:
            shutil.rmtree(self.out / FOLDER, ignore_errors=True)
            return
        about = next(iter(card.methods.values()))["models"]
        with replacing_folder(self.out / FOLDER, self.scratch) as folder:
            for place, (kind, seed) in self.places.items():
                self._export(folder / place, kind, seed)
                write_text(folder / place / "README.md", card_text(card, self.trainer.job, kind, about[place]))
                about[place]["sha256"] = sha256(folder / place / WEIGHTS)

    def _export(self, folder: Path, kind: str, seed: int) -> None:
        """One model with its tokeniser and generation config, and its adapter if it has one."""
        from transformers import AutoModelForCausalLM, GenerationConfig

        trainer, library, settings = self.trainer, cast(Any, AutoModelForCausalLM), cast(Any, GenerationConfig)
        tokenizer, config = trainer.tokenizer, trainer.policy.model.lm.config
        inner = tokenizer.pretrained()
        with torch.device(
            "meta"
        ):  # the library's own model, without memory for weights and without an adapter's layers
            blank = library.from_config(type(config).from_dict(config.to_dict()), dtype=computes_in(trainer.job))
        blank.generation_config = settings(  # ends by any of the tokens that the training knew
            do_sample=False, max_new_tokens=trainer.job.task.max_completion_length, eos_token_id=list(tokenizer.ends),
            pad_token_id=tokenizer.pad, bos_token_id=getattr(inner, "bos_token_id", None),
        )  # fmt: skip
        weights = load_file(self.scratch / f"{kind}-{seed}.safetensors")
        blank.save_pretrained(folder, state_dict=weights, max_shard_size="1TB")
        inner.save_pretrained(folder)
        (folder / WEIGHTS).chmod((folder / "config.json").stat().st_mode)  # safetensors lets only the owner read it
        if is_adapted(trainer.policy.lm):
            adapter = load_file(self.scratch / f"{kind}-{seed}.{ADAPTER}.safetensors")
            write_adapter(trainer.policy.lm, adapter, folder / ADAPTER, base_name(trainer.job))


def base_name(job: Job) -> str | None:
    """The base model's name on the hub, if it has one."""
    model = job.task.model
    if isinstance(model, Gguf):
        return FILES[model.kind].base
    return model.name if isinstance(model, Hub) and model.revision else None


def card_text(card: RunCard, job: Job, kind: str, about: dict[str, Any]) -> str:
    """The model card, from the run card: what was trained how on what, and its scores. No times, which change."""
    base, model, lora = base_name(job), job.task.model, job.task.lora
    label = next(iter(card.methods))
    score = "not measured" if about["score"] is None else f"{about['score']:.4g}"
    shown = {name: value for name, value in card.methods[label].items() if name in type(job.method).model_fields}
    rows = {
        "method": label,
        "settings": ", ".join(f"{name} {value}" for name, value in shown.items()),
        "task": f"{card.task} ({job.task.kind})",
        "data": card.data,
        "base model": base or getattr(model, "name", None) or f"{model.kind} {getattr(model, 'base', '')}".strip(),
        "adapter": f"LoRA of rank {lora.rank}, merged; the adapter alone is in `{ADAPTER}/`" if lora else "none",
        "seed": about["seed"],
        "step": f"{about['step']} of {job.task.steps}, {job.task.prompts} prompts x {job.samples} completions each",
        "learning rate": f"{job.learning_rate}, {job.task.schedule}",
        "sampling": f"temperature {job.temperature}, at most {job.task.max_completion_length} tokens",
        "score": f"{score}, mean reward of {job.task.eval_prompts} test prompts at most",
        "run card": card.id,
        "versions": ", ".join(f"{name} {version}" for name, version in card.versions.items()),
    }
    table = "\n".join(f"| {name} | {str(value).replace('|', '/')} |" for name, value in rows.items())
    base_line = f"base_model: {base}\n" if base else ""
    chosen = " It was chosen by this score, which is therefore optimistic." if kind == "best" else ""
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [septet, reinforcement-learning]
{base_line}---
# {label} on {card.task}: {kind}

Weights at {KINDS[kind]}, trained with Septet's empg ([arXiv 2504.18587](https://arxiv.org/abs/2504.18587)).{chosen}
The run card `run.json`, beside the folder of models, has everything else, this folder's SHA-256 included.

| | |
|---|---|
{table}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{kind}")
model = AutoModelForCausalLM.from_pretrained("{kind}")
```
"""
