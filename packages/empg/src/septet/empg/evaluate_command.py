"""`python -m septet.empg evaluate MODEL`: the score of a model on the test problems of a job, without training."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from septet.card import RunCard
from septet.config import validate
from septet.empg import tasks
from septet.empg.config import Job
from septet.empg.inference import Completer, Options, parse
from septet.empg.saved_models import WEIGHTS
from septet.errors import InputError
from septet.files import sha256, write_text
from septet.reading import read_mapping


class Evaluation(Options):
    """What `evaluate` takes."""

    job: Path | None = None
    """Configuration of a training job, or its run card; if left out, the run.json beside the folder of models."""
    data_file: str | None = None
    """The job's prepared input, if it lies elsewhere now."""
    limit: int | None = Field(default=None, ge=1)
    """Most tokens of a completion; if left out, the job's."""
    eval_prompts: int | None = Field(default=None, ge=1)
    """Most test problems; if left out, the job's."""
    completions: Path | None = None
    """File for the completions, as JSON lines."""


def main(arguments: Sequence[str]) -> None:
    """Print the score as a JSON object."""
    options = parse("evaluate", Evaluation, arguments, "Print the score of a model on a task as a JSON object.")
    job = read_job(options)
    questions, grade = tasks.load(job, options.threads)
    completer = Completer(options)
    asked = tasks.with_chats(questions.test[: options.eval_prompts or job.task.eval_prompts], completer.tokenizer)
    start = time.perf_counter()
    found = completer.complete([problem.prompt for problem in asked], options.limit or job.task.max_completion_length)
    seconds = time.perf_counter() - start
    texts, tokens = [one.text for one in found], [one.tokens for one in found]
    finished = [one.finished for one in found]
    rewards = grade(texts, [asked[one.prompt] for one in found], finished, tokens)
    by_prompt = np.array(rewards).reshape(len(asked), options.samples).mean(1)
    if options.completions is not None:
        lines = [
            json.dumps({"prompt": asked[one.prompt].prompt, "completion": one.text, "reward": reward}) + "\n"
            for one, reward in zip(found, rewards, strict=True)
        ]
        write_text(options.completions, "".join(lines))
    score = {
        "model": options.model, "task": job.task.name or job.task.kind, "data": questions.origin,
        "prompts": len(asked), "samples": options.samples, "temperature": options.temperature,
        "score": float(by_prompt.mean()),
        "standard_error": float(by_prompt.std(ddof=1) / len(asked) ** 0.5) if len(asked) > 1 else None,
        "length": float(np.mean(list(map(len, tokens)))),
        "finished": float(np.mean(finished)),
        "tokens_per_second": round(sum(map(len, tokens)) / seconds, 1),
    }  # fmt: skip
    sys.stdout.write(json.dumps(score, ensure_ascii=False) + "\n")


def read_job(options: Evaluation) -> Job:
    """The job whose task is asked.

    Raises:
        InputError: none is given or found, it is no job, or the model is not the one that the run card beside it names.
    """
    parents = list(Path(options.model).resolve().parents)[:3]
    beside = next((up / "run.json" for up in parents if (up / "run.json").is_file()), None)
    file = options.job or beside  # the run card of the job whose folder of models it lies in
    if file is None:
        expected = "--job, a training job's configuration or run.json, or a model folder of a job"
        raise InputError(f"model {options.model}", expected=expected, found="none")
    mapping = read_mapping(str(file))
    if "config" in mapping and "methods" in mapping:
        card = RunCard.read(file)
        mapping = card.config
        if options.job is None:
            _check_weights(Path(options.model), file, card)
    if options.data_file is not None:
        mapping = {**mapping, "data_file": options.data_file}
    return validate(Job, mapping, str(file))


def _check_weights(model: Path, file: Path, card: RunCard) -> None:
    """Check the weights against the run card."""
    place, weights = model.resolve().relative_to(file.resolve().parent / "model").as_posix(), model / WEIGHTS
    named = next(iter(card.methods.values())).get("models", {}).get(place, {}).get("sha256")
    found = sha256(weights) if weights.is_file() else "none"
    if found != named:
        expected = f"the weights that {file} names, SHA-256 {str(named)[:12]}; --job takes others"
        raise InputError(str(weights), expected=expected, found=found[:12])
