"""A job's problems and its grader, whichever task it is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from septet.empg import datasets, grading, own_data, problems
from septet.empg.config import Chain, Chat, Competition, Dataset, Gsm8k, Gym, Job, Steps
from septet.empg.problems import Problem, Questions
from septet.empg.rewards import Rewards
from septet.empg.tokens import Tokenizer
from septet.errors import InputError

Grade = Callable[[Sequence[str], Sequence[Problem], Sequence[bool], Sequence[Sequence[int]]], list[float]]
"""Rewards of completions, 0 to 1 but for users' own: texts, problems, whether they ended by themselves, token ids."""


def load(job: Job, graders: int = 1) -> tuple[Questions, Grade]:
    """The problems of the job's task and its grader, which may have several processes."""
    task = job.task
    match task:
        case Chain():
            return problems.chains(job.root_seed), _one_by_one(problems.grade_terminated)
        case Steps():
            return problems.step_problems(job.root_seed), _one_by_one(problems.grade_terminated)
        case Chat():
            return problems.chat_sums(job.root_seed, task.shots), _one_by_one(problems.grade_chat)
        case Gsm8k():
            rule = grading.gsm8k_strict if task.grader == "strict" else grading.gsm8k_normalised
            table = datasets.questions(task, Path(str(job.data_file)))
            return table, _one_by_one(lambda text, gold, _: rule(text, gold))
        case Competition():
            table = datasets.questions(task, Path(str(job.data_file)))
            grader = grading.MathGrader(workers=graders)
            return table, lambda texts, asked, *_: grader(texts, [problem.answer for problem in asked])
        case Gym():
            return _gym(task, job.root_seed)
        case Dataset():
            rewards, found = Rewards(task.rewards), own_data.questions(task, job.root_seed)
            return replace(found, origin=f"{found.origin}; {rewards.origin}"), rewards


def with_chats(asked: Sequence[Problem], tokenizer: Tokenizer) -> list[Problem]:
    """Problems whose prompts are texts: chats are written out by the tokeniser's template."""
    return [replace(one, prompt=tokenizer.chat(one.chat)) if one.chat else one for one in asked]


def _one_by_one(rule: Callable[[str, str, bool], float]) -> Grade:
    def grade(texts: Sequence[str], asked: Sequence[Problem], finished: Sequence[bool], *_: Any) -> list[float]:
        return [rule(text, one.answer, ended) for text, one, ended in zip(texts, asked, finished, strict=True)]

    return grade


def _gym(task: Gym, seed: int) -> tuple[Questions, Grade]:
    """A family of reasoning-gym. Raises InputError if package or family is missing."""
    try:
        import reasoning_gym
    except ModuleNotFoundError:
        where, expected = f"task family {task.family}", "the package reasoning-gym"
        raise InputError(where, expected=expected, found="it is not installed") from None
    try:
        family = reasoning_gym.create_dataset(task.family, size=task.problems, seed=seed)
    except ValueError as error:
        raise InputError("task family", expected="a family of reasoning-gym", found=str(error)) from None
    request = datasets.PROMPTS["gsm8k"].removeprefix("{} ")
    entries = [family[index] for index in range(task.problems)]
    every = [Problem(f"{entry['question']}\n{request}", str(entry["answer"])) for entry in entries]
    known = {(one.prompt, one.answer): entry for one, entry in zip(every, entries, strict=True)}

    def grade(texts: Sequence[str], asked: Sequence[Problem], *_: Any) -> list[float]:
        answers = [text[-2000:].rpartition("####")[2].strip() for text in texts]
        pairs = zip(answers, asked, strict=True)
        return [float(family.score_answer(answer, known[one.prompt, one.answer]) >= 1.0) for answer, one in pairs]

    held_out = len(every) // 10
    return Questions(every[held_out:], every[:held_out], f"reasoning-gym {task.family}"), grade
