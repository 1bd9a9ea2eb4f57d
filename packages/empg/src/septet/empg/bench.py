"""The `bench` verb: steps and completions per second beside TRL's GRPOTrainer, same model, prompts, N and lengths."""

import contextlib
import importlib
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from septet.bench import Bench, Row, row
from septet.config import Settings
from septet.empg import adapters, models
from septet.empg.config import Job, Lora
from septet.empg.decoding import packed
from septet.empg.experiments import Experiments, Real
from septet.empg.sample import common, generate
from septet.empg.train import Trainer
from septet.seeding import stream

PEER = "TRL GRPO"
METHODS = ("empg", "grpo", "raft")
REPEATS = 20
ROWS = 64
"""Completions that are decoded together where decoding alone is measured."""


class Setting(Settings):
    """What a bench ran with; part of its run card."""

    steps: dict[str, int]
    """Measured steps of each task."""
    threads: int
    """Threads of ours and of the peer."""
    tokens: int
    """Tokens of each completion where decoding alone is measured."""


def measure(setting: Setting) -> list[Row]:
    """The rows of the bench. The learning rate is tiny, so that all draw the base's completions."""
    torch.set_num_threads(setting.threads)
    with tempfile.TemporaryDirectory() as folder:
        return [one for task, steps in setting.steps.items() for one in rows_of(task, steps, setting, Path(folder))]


def rows_of(task: str, steps: int, setting: Setting, folder: Path) -> Iterator[Row]:
    """The rows of a task; files go to `folder`."""
    weights = None
    if task == "chat":
        models.prepare_gguf("smollm2", folder)
        weights = str(folder / "smollm2.safetensors")
    jobs = {method: job_of(method, task, weights, steps, setting.threads) for method in METHODS}
    size = jobs["grpo"].task.prompts * jobs["grpo"].samples
    matrix, thin = matrix_rate(jobs["grpo"], 512), matrix_rate(jobs["grpo"], size)
    peer = dict.fromkeys(METHODS, peer_seconds(jobs["grpo"], folder, steps))
    if task == "chat":
        jobs["empg, LoRA"] = job_of("empg", task, weights, steps, setting.threads, lora=Lora(rank=16))
        peer["empg, LoRA"] = peer_seconds(jobs["empg, LoRA"], folder, steps)
    for method, job in jobs.items():
        one, theirs = own_seconds(job, steps), peer[method]
        name, least = f"{task}, {method}", {phase: flops / matrix for phase, flops in one.flops.items()}
        limit = sum(least.values()) / one.whole
        yield row(f"{name}: steps per second", 1 / one.whole, "1/s", PEER, 1 / theirs, limit)
        yield row(f"{name}: completions per second", size / one.whole, "1/s", PEER, size / theirs, limit)
        for phase, seconds in one.seconds.items():
            bound = least[phase] / seconds if phase in least else None
            yield row(f"{name}: share of {phase}", seconds / one.whole, "", limit_ratio=bound)
        if one.memory is not None:
            yield row(f"{name}: peak memory of the GPU", one.memory, "MB")
    mine, reference = decoded_per_second(jobs["grpo"], setting.tokens)
    yield row(f"{task}, {ROWS} rows: decoded tokens per second", mine, "1/s", "transformers' generate", reference)
    yield row(f"{task}: measured matrix rate", matrix / 1e9, "GFLOP/s")
    few = f"{task}: the same, {size} rows as in generation"
    yield row(few, thin / 1e9, "GFLOP/s", limit_ratio=thin / matrix)


def job_of(method: str, task: str, weights: str | None, steps: int, threads: int, lora: Lora | None = None) -> Job:
    """A job of the experiments with a learning rate of next to nothing."""
    every = Real() if task == "chat" else Experiments()
    changes = {"name": task, "learning_rate": 1e-12, "steps": steps + 1, "threads": threads, "lora": lora}
    return Job(
        method=every.methods[method].model_copy(update={"name": method}),
        task=every.tasks[task].model_copy(update=changes),
        seeds=[2001],
        weights_file=weights,
    )


class Cost(NamedTuple):
    """Median seconds of a step and of each phase, operations without attention's, the GPU's highest memory in MB."""

    whole: float
    seconds: dict[str, float]
    flops: dict[str, float]
    memory: float | None


def own_seconds(job: Job, steps: int) -> Cost:
    """Time, operations and memory of our step.

    Two operations for a weight and a token: a prompt once for all its completions, and what all prompts begin with once
    for all prompts, in generation and in update; the head only where a token is drawn or learned. The update goes
    forward and backward: to the inputs, and to the weights as well without LoRA, whose own products are not counted.
    """
    run = Trainer(job)
    head = run.policy.lm.get_output_embeddings().weight.numel()
    body = sum(weight.numel() for name, weight in run.policy.lm.named_parameters() if ".lora_" not in name) - head
    passes = 3 if job.task.lora is None else 2
    for _ in range(steps + 1):
        run.advance()
    seconds = run.history.arrays["seconds"][0, 1:]  # the first step warms up
    length = run.history.arrays["step.length"][0, 1:].mean() * job.task.prompts * job.samples
    trained = run.history.arrays["step.trained"][0, 1:].mean()
    asked = [run.tokenizer.encode(problem.prompt) for problem in run.questions.train]
    begin = common(asked)
    prompt = begin + job.task.prompts * (len(asked[0]) - begin)
    read = prompt * min(1.0, trained / length)  # a prompt without a completion that counts is skipped, about
    flops = {
        "generation": 2 * body * (prompt + length) + 2 * head * length,
        "update": 2 * passes * (body * (trained + read) + head * trained),
    }
    return Cost(
        float(median(seconds.sum(1))),
        {phase: float(median(seconds[:, k])) for k, phase in enumerate(("generation", "grading", "update"))},
        flops,
        run.meter.peak() if run.device.type == "cuda" else None,
    )


def decoded_per_second(job: Job, tokens: int) -> tuple[float, float]:
    """Tokens per second of our sampling and of `generate` of transformers, in turn, on prompts of different lengths.

    Both draw from the whole vocabulary at temperature 1 and read the prompts, whose beginnings differ.
    """
    lm, tokenizer = models.load(job)
    draws = stream(0, "decoding")
    lengths = draws.integers(20, 60, ROWS)
    prompts = [draws.integers(0, lm.config.vocab_size, length).tolist() for length in lengths]
    padded = [[tokenizer.pad] * (max(lengths) - len(prompt)) + prompt for prompt in prompts]
    uniforms = draws.random((ROWS, tokens), dtype="float32")
    own = lm.config._attn_implementation
    seconds: tuple[list[float], list[float]] = ([], [])
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": True, "top_k": 0, "top_p": 1.0}
    mask = torch.tensor([[0] * (max(lengths) - length) + [1] * int(length) for length in lengths])
    for _ in range(4):
        start = time.perf_counter()
        with packed(lm, ROWS):
            generate(lm, prompts, samples=1, limit=tokens, eos=-1, pad=tokenizer.pad, uniforms=uniforms)
        middle = time.perf_counter()
        lm.set_attn_implementation("sdpa")
        with torch.inference_mode():
            lm.generate(
                torch.tensor(padded), attention_mask=mask, temperature=1.0, pad_token_id=tokenizer.pad, **options
            )
        lm.set_attn_implementation(own)
        for times, taken in zip(seconds, (middle - start, time.perf_counter() - middle), strict=True):
            times.append(taken)
    mine, theirs = (ROWS * tokens / median(times[1:]) for times in seconds)  # the first one warms up
    return mine, theirs


def matrix_rate(job: Job, rows: int) -> float:
    """Floating-point operations per second of the model's feed-forward product with `rows` tokens, in its type."""
    lm, _ = models.load(job)
    weight, width = next(lm.parameters()), lm.config.hidden_size
    left = torch.randn(rows, width).to(weight)
    right = torch.randn(width, 4 * width).to(weight)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(REPEATS):
            left @ right
        if weight.is_cuda:
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / REPEATS)
    return 2 * rows * width * 4 * width / median(times)


def peer_seconds(job: Job, folder: Path, steps: int) -> float:
    """Median seconds of a step of TRL's GRPOTrainer on the job's model and prompts."""
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from transformers import TrainerCallback

    trl: Any = importlib.import_module("trl")
    lm, tokenizer = models.load(job)
    lm.set_attn_implementation("sdpa")  # as it comes
    bf16 = next(lm.parameters()).dtype == torch.bfloat16
    run = Trainer(job)
    by_prompt = {problem.prompt: problem for problem in run.questions.train}

    def score(prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        ended = [ids[-1] in tokenizer.ends for ids in completion_ids]
        return run.grade(completions, [by_prompt[prompt] for prompt in prompts], ended, completion_ids)

    marks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(time.perf_counter())

    config = trl.GRPOConfig(
        output_dir=str(folder / "trl"), use_cpu=run.device.type == "cpu", bf16=bf16, beta=0.0,
        num_generations=job.samples, per_device_train_batch_size=job.task.prompts * job.samples,
        max_completion_length=job.task.max_completion_length, learning_rate=1e-12, report_to=[], save_strategy="no",
        max_steps=steps + 2, logging_strategy="no", disable_tqdm=True, temperature=1.0,
    )  # fmt: skip
    theirs = None if job.task.lora is None else adapters.peft_config(job.task.lora)
    # A fingerprint of our own: `datasets` cannot hash a table once polars is loaded.
    data = Dataset(InMemoryTable.from_pydict({"prompt": list(by_prompt)}), fingerprint="empg")
    trainer = trl.GRPOTrainer(
        model=lm.float(), reward_funcs=score, args=config, train_dataset=data,
        processing_class=tokenizer.pretrained(), callbacks=[Clock()], peft_config=theirs,
    )  # fmt: skip
    with contextlib.redirect_stdout(None):
        trainer.train()
    return float(median(after - before for before, after in pairwise(marks[1:])))


BENCH = Bench(
    measure=measure,
    full=Setting(steps={"chat": 3, "warm": 8}, threads=1, tokens=48),
    quick=Setting(steps={"warm": 4}, threads=1, tokens=4),
    packages=["septet", "septet.empg"],
    libraries=["torch", "transformers", "trl"],
    peers=["trl"],
)
