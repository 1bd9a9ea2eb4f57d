"""Problems, and the generated tasks: prompts, answers, rewards, and the tiny model's demonstrations."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from septet.seeding import stream


@dataclass(frozen=True)
class Problem:
    """One prompt and its answer."""

    prompt: str
    """What the model reads."""
    answer: str
    """The gold answer."""
    chat: tuple[Mapping[str, str], ...] = ()
    """Turns with `role` and `content` that make the prompt, once a tokeniser has written them out."""
    row: Mapping[str, Any] = field(default_factory=dict)
    """Columns of a user's table."""


@dataclass(frozen=True)
class Questions:
    """The problems of a task."""

    train: list[Problem]
    test: list[Problem]
    origin: str
    """Where they came from, for the run card."""


def chain_answer(digits: Sequence[int]) -> str:
    """The written chain of `a+b+c=`: running sums modulo 10, e.g. ``3+4+5=`` -> ``7,2``."""
    first = (digits[0] + digits[1]) % 10
    return f"{first},{(first + digits[2]) % 10}"


def chains(root_seed: int) -> Questions:
    """All 1,000 prompts `a+b+c=`, 200 of them for the test."""
    every = [Problem(f"{a}+{b}+{c}=", str((a + b + c) % 10)) for a, b, c in product(range(10), repeat=3)]
    return split(every, 200, root_seed, "chain")


def step_answer(prompt: str) -> list[str]:
    """The written steps of `a+b-c+d=`, e.g. ``5+8-3+0=`` -> ``["5+8=3", "3-3=0", "0+0=0"]``, modulo 10."""
    total, steps = int(prompt[0]), []
    for sign, digit in zip(prompt[1:-1:2], prompt[2::2], strict=True):
        result = (total + int(digit) if sign == "+" else total - int(digit)) % 10
        steps.append(f"{total}{sign}{digit}={result}")
        total = result
    return steps


def step_problems(root_seed: int) -> Questions:
    """4,000 prompts of four digits and three signs drawn without replacement, 400 of them for the test."""
    draw = stream(root_seed, "steps", "problems")
    prompts = []
    for number in draw.permutation(80_000)[:4000]:
        digits, signs = divmod(int(number), 8)
        a, b, c, d = list(f"{digits:04}")
        s = ["+-"[signs >> place & 1] for place in range(3)]
        prompts.append(f"{a}{s[0]}{b}{s[1]}{c}{s[2]}{d}=")
    return split([Problem(p, step_answer(p)[-1][-1]) for p in prompts], 400, root_seed, "steps")


CHAT_TEMPLATE = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
"""SmolLM2's own template without the default system prompt, which would be a third of all tokens."""
CHAT_EXAMPLES = (("2 + 5", "7"), ("3 * 2", "6"))
"""Earlier turns of the chat: they show what an answer looks like, so that the base is right now and then."""


def chat_sums(root_seed: int, shots: int = 0) -> Questions:
    """`a op b` of digits and +, -, *: 300 questions, 60 at most for the test; a pair of digits is in one part only.

    `shots` worked examples come before the question, as turns of the chat; their digits are not in the test.
    """
    before = "".join(
        CHAT_TEMPLATE.format(f"What is {sum_}?") + f"{sum_} = {value}<|im_end|>\n"
        for sum_, value in CHAT_EXAMPLES[:shots]
    )
    used = [sorted((int(sum_[0]), int(sum_[-1]))) for sum_, _ in CHAT_EXAMPLES]
    pairs = [(a, b) for a in range(10) for b in range(a, 10)]
    draw = stream(root_seed, "chat", "split")
    train, test = list[Problem](), list[Problem]()
    for index in draw.permutation(len(pairs)):
        a, b = pairs[index]
        free = [a, b] not in used and len(test) + (6 if a != b else 3) <= 60
        for x, y in {(a, b), (b, a)} if a != b else [(a, b)]:
            for sign, value in (("+", x + y), ("-", x - y), ("*", x * y)):
                text = before + CHAT_TEMPLATE.format(f"What is {x} {sign} {y}?")
                (test if free else train).append(Problem(text, str(value)))
    train, test = (sorted(part, key=lambda p: p.prompt) for part in (train, test))
    return Questions(train, test, "generated chat sums")


def split(every: list[Problem], held_out: int, root_seed: int, name: str) -> Questions:
    """Hold out some problems for the test, drawn by the root seed; both parts keep their order."""
    order = stream(root_seed, name, "split").permutation(len(every))
    test = [every[i] for i in sorted(order[:held_out])]
    train = [every[i] for i in sorted(order[held_out:])]
    return Questions(train, test, f"generated {name}")


def grade_terminated(text: str, answer: str, finished: bool) -> float:
    """1 if the completion ended by itself with `#` and the right digit (section 7)."""
    return float(finished and text.endswith(f"#{answer}"))


NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def grade_chat(text: str, answer: str, finished: bool) -> float:
    """1 if the completion ended by itself and its last number is right. A minus between numbers is no sign."""
    found = NUMBER.findall(re.sub(r"(?<=\d)\s*-\s*(?=\d)", " minus ", text[:2000]))
    return float(finished and bool(found) and found[-1] == answer)


# Demonstrations: what a base model is trained on. They are wrong in a known share of cases, so that the base
# can do the task, but seldom does: what reinforcement learning is for.


def demonstrate_chain(problem: Problem, draw: np.random.Generator, base: str) -> str:
    """A chain with a wrong terminator, fillers or a wrong digit in the shares of section 7.

    `warm`: 65 % end in `@` instead of `#`, half are padded with 1 to 8 fillers, 30 % have a wrong answer.
    `cold`: 99 % end in `@`, none is padded, 10 % are wrong.
    """
    wrong_end, padded, wrong = (0.65, 0.5, 0.3) if base == "warm" else (0.99, 0.0, 0.1)
    fillers = "~" * int(draw.integers(1, 9)) if draw.random() < padded else ""
    answer = str(draw.integers(10)) if draw.random() < wrong else problem.answer
    terminator = "@" if draw.random() < wrong_end else "#"
    return f"{chain_answer([int(d) for d in problem.prompt[:-1:2]])}{fillers}{terminator}{answer}."


def demonstrate_steps(problem: Problem, draw: np.random.Generator, wrong: float, fillers: bool) -> str:
    """Written steps, each wrong with probability `wrong`; with `fillers` 0 to 2 after each, and 5 % answers only."""
    steps = step_answer(problem.prompt)
    if draw.random() < 0.05 and fillers:
        return f"#{problem.answer}."
    rate = (0.0, 0.3, 0.6)[int(draw.integers(3))] if fillers else 0.0
    text, total = "", ""
    for step in steps:
        head = step[:-1] if not total else total + step[1:-1]  # go on from what was written, right or wrong
        value = (int(head[0]) + int(head[2]) if head[1] == "+" else int(head[0]) - int(head[2])) % 10
        total = str(draw.integers(10)) if draw.random() < wrong else str(value)
        text += f"{head}{total};" + "~;" * int((draw.random(2) < rate).sum())
    return f"{text}#{total}."
