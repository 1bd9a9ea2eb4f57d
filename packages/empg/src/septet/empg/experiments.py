"""The experiments: `config/papers/empg.yaml` and, on a real language model, `config/papers/empgreal.yaml`."""

from typing import Literal

from septet.config import Runs, SeededRuns, Seeds
from septet.empg.config import Chain, Chat, Common, Gguf, Gsm8k, Lora, Method, Steps, Task, Tiny

ALL = ["empg", "grpo", "dr_grpo", "rloo", "reinforce_pp", "ppo", "raft"]


class Experiments(SeededRuns, Common):
    """The paper's experiments: `config/papers/empg.yaml`."""

    paper: Literal["empg"] = "empg"
    """Where results are reported."""
    data_dir: str | None = None
    """Folder of data sets; if null, the environment's SEPTET_DATA."""
    methods: dict[str, Method] = {
        "empg": Method(),
        "grpo": Method(estimator="grpo", ratio="clip"),
        "dr_grpo": Method(estimator="dr_grpo", ratio="clip", average="constant"),
        "rloo": Method(estimator="rloo", ratio="sequence", average="sum"),
        "reinforce_pp": Method(estimator="reinforce_pp", ratio="clip", average="token"),
        "ppo": Method(estimator="ppo", ratio="clip", average="token"),
        "raft": Method(estimator="raft"),
        "empg_kl": Method(kl_loss=0.001, kl_reward=0.01),
        "grpo_kl": Method(estimator="grpo", ratio="clip", kl_loss=0.001, kl_reward=0.01),
        "grpo_kl_loss": Method(estimator="grpo", ratio="clip", kl_loss=0.001),
        "dr_grpo_kl": Method(estimator="dr_grpo", ratio="clip", average="constant", kl_loss=0.001, kl_reward=0.01),
        "empg_raw": Method(sigmoid=False),
        "empg_m4": Method(inner_steps=4),
        "grpo_m4": Method(estimator="grpo", ratio="clip", inner_steps=4),
        "raft_m4": Method(estimator="raft", inner_steps=4),
    }
    """EMPG and the baselines of section 5."""
    tasks: dict[str, Task] = {
        "warm": Chain(
            kind="chain", model=Tiny(kind="tiny", base="warm"), steps=30, learning_rate=2e-4, eval_prompts=100,
            batch_tokens=600,
        ),
        "cold": Chain(
            kind="chain", model=Tiny(kind="tiny", base="cold"), steps=50, learning_rate=3e-4, eval_prompts=100,
            batch_tokens=600,
        ),
        "steps": Steps(
            kind="steps", model=Tiny(kind="tiny", base="steps"), steps=20, learning_rate=5e-4, samples=4,
            greedy=False, eval_samples=1, batch_tokens=600,
        ),
    }  # fmt: skip
    """The generated tasks of section 7."""
    runs: dict[str, list[str]] = {
        "warm": [*ALL, "empg_raw", "empg_m4", "grpo_m4", "raft_m4"],
        "cold": [*ALL, "empg_kl", "grpo_kl", "grpo_kl_loss", "dr_grpo_kl"],
        "steps": ALL,
    }
    """Which methods run on which task; an empty list switches a task off."""


class Real(Common, Runs):
    """Reinforcement learning on pretrained language models: `snakemake empg_real`."""

    paper: Literal["empgreal"] = "empgreal"
    """Where results are reported."""
    seeds: Seeds = [0, 1, 2]
    """Replicates, one after the other."""
    data_dir: str | None = None
    """Folder of data sets; if null, the environment's SEPTET_DATA."""
    keep_model: Literal["none", "first", "all"] = "none"
    """Seeds whose trained models are kept, the best and the last, in `model/` beside the scores: 540 MB each of
    SmolLM2, 2.5 GB of Qwen."""
    methods: dict[str, Method] = {
        "empg": Method(),
        "grpo": Method(estimator="grpo", ratio="clip"),
        "raft": Method(estimator="raft"),
        "dr_grpo": Method(estimator="dr_grpo", ratio="clip", average="constant"),
    }
    """EMPG, GRPO, RAFT and Dr. GRPO."""
    tasks: dict[str, Task] = {
        "chat": Chat(
            kind="chat", model=Gguf(kind="smollm2"), weights="smollm2.safetensors", steps=10, prompts=6, samples=6,
            max_completion_length=12, learning_rate=2e-5, eval_every=5, eval_prompts=30, eval_samples=2, threads=2,
        ),
        "gsm8k": Gsm8k(
            kind="gsm8k", model=Gguf(kind="qwencoder"), data="gsm8k.parquet", weights="qwencoder.safetensors",
            calculations=2, chat=True, shots=2, lora=Lora(rank=16), steps=8, prompts=8, samples=8,
            max_completion_length=96, learning_rate=1e-4, eval_every=8, eval_prompts=128, row_tokens=1024,
            batch_tokens=1024,
        ),
    }  # fmt: skip
    """One-digit arithmetic asked of SmolLM2-135M-Instruct; GSM8K's problems of one or two calculations asked of
    Qwen2.5-Coder-0.5B-Instruct."""
    runs: dict[str, list[str]] = {"chat": ["empg", "grpo", "raft"], "gsm8k": []}
    """Which methods run on which task; an empty list switches a task off."""
