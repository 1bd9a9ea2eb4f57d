"""Graders of written answers. Model output is hostile input: it is cut, compared as text first, and whatever
needs algebra goes to a worker process that may be killed (`septet.empg.grader_worker`).
"""

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence

from septet.empg.numerals import after_mark, last_number

ANSWER_CHARACTERS = 200
"""Longer answers are wrong without a look: no gold answer of MATH is half as long."""
TEXT_CHARACTERS = 100_000
WORKER_SECONDS = 2.0
"""Limit of CPU time for one answer: that of the worker, which stands still while a job is suspended."""
SILENCE_SECONDS = 300.0
"""A worker that has not replied after this time, during which this process was awake, is replaced."""
TICK_SECONDS = 1.0
BOX = re.compile(r"\\f?box(?:ed)?(?:\s*\{|\s+([^\s{}$.,;]{1,200})|(?=[^A-Za-z\s{])([^\s{}$.,;]{1,200}))")
STRICT = re.compile(r"#### (-?[0-9.,]+)")


def gsm8k_strict(text: str, gold: str) -> float:
    """The published reward: the first `#### number`, commas left out, equal to the gold answer as a string."""
    found = STRICT.search(text[:TEXT_CHARACTERS])
    return float(found is not None and found.group(1).replace(",", "") == gold)


def gsm8k_normalised(text: str, gold: str) -> float:
    """The number after the last `####`, or the last number of the text, equal to the gold answer in value.

    Read exactly (`empg.numerals`): money, separators, fractions, mixed numbers and sums with their right result count;
    several numbers, a time of day, a range, or a sum with a wrong result are no answer.
    """
    _, mark, after = text[-TEXT_CHARACTERS:].rpartition("####")
    found = after_mark(after) if mark else last_number(text[-2000:])
    return float(found is not None and found == after_mark(gold))


def last_boxed(text: str) -> str | None:
    r"""Inside of the last `\boxed{...}`, `\fbox{...}` or `\boxed 5`; none if that is unfinished."""
    text = text[-TEXT_CHARACTERS:]
    if (last := next(iter(deque(BOX.finditer(text), 1)), None)) is None:
        return None
    if unbraced := last[1] or last[2]:
        return unbraced.strip()
    depth, start = 1, last.end()
    for index in range(start, min(len(text), start + 2 * ANSWER_CHARACTERS)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return text[start:index].strip()
    return None


def written_answer(text: str) -> str | None:
    """The last boxed answer, or what follows the last `answer is`; none if neither is there or it is too long.

    A box that is not closed is no answer, whatever came before: the text was cut off where it changed its mind.
    """
    text = text[-TEXT_CHARACTERS:]
    if BOX.search(text):
        answer = last_boxed(text)
    else:
        _, mark, after = text.rpartition("answer is")
        sentence = re.split(r"\n|\.(?=\s|$)", after.lstrip(" :*\n"), maxsplit=1)[0]
        answer = sentence.strip("*`_$: ").removeprefix("\\(").removesuffix("\\)").strip() if mark else None
    return answer if answer and len(answer) <= ANSWER_CHARACTERS else None


def plain(answer: str) -> str:
    """An answer without what never changes its value: spaces, dollar signs, display style, a full stop.

    A space between digits stays: 1 1/4 is not 11/4.
    """
    answer = re.sub(r"\\left|\\right|\\[!,;:]|\\?\$|(?<!\d)\s|\s(?!\s*\d)", "", answer)
    return answer.replace("dfrac", "frac").replace("tfrac", "frac").rstrip(".")


class MathGrader:
    """Compares answers of MATH (`septet.empg.answers`) in worker processes.

    A worker has limits of memory and of CPU time for each answer. An answer that reaches one is tried again, and then
    counts as wrong for this call; only judgements are kept for later ones. An answer whose worker was killed from
    outside is tried again too. Samples repeat answers, so each is judged once.
    """

    def __init__(self, workers: int = 1, seconds: float = WORKER_SECONDS) -> None:
        self.seconds = seconds
        self._workers: list[_Worker | None] = [None] * workers
        self._known: dict[tuple[str, str], float] = {}

    def __call__(self, texts: Sequence[str], golds: Sequence[str]) -> list[float]:
        """1.0 for each right answer, 0.0 for wrong, missing and over-long ones, and for those that break the worker.

        Raises:
            MemoryError: the worker was killed from outside, or silent, at the same answer twice: it has no judgement.
        """
        pairs = [(gold, written_answer(text) or "") for gold, text in zip(golds, texts, strict=True)]
        same = [plain(answer) == plain(gold) for gold, answer in pairs]
        open_ones = {pair for pair, known in zip(pairs, same, strict=True) if pair[1] and not known}
        self._ask(sorted(open_ones - self._known.keys()))
        return [
            float(answer != "" and (known or self._known.get((gold, answer), False)))
            for (gold, answer), known in zip(pairs, same, strict=True)
        ]

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            if worker is not None:
                worker.kill()
        self._workers = [None] * len(self._workers)

    def _ask(self, pairs: list[tuple[str, str]]) -> None:
        """Judge pairs, several workers at a time."""
        waiting = list(reversed(pairs))
        tried = set[tuple[str, str]]()
        busy: dict[int, tuple[tuple[str, str], float]] = {}  # pair, and seconds that its worker may stay silent
        with selectors.DefaultSelector() as selector:
            while waiting or busy:
                for place in range(len(self._workers)):
                    if place not in busy and waiting:
                        worker = self._workers[place] = self._workers[place] or _Worker(self.seconds)
                        pair = waiting.pop()
                        worker.send(pair)
                        selector.register(worker.answers, selectors.EVENT_READ, place)
                        busy[place] = pair, SILENCE_SECONDS
                start = time.monotonic()
                selector.select(TICK_SECONDS)
                awake = min(time.monotonic() - start, TICK_SECONDS)  # no more, however long this process was suspended
                for place, (pair, left) in list(busy.items()):
                    at_work = self._workers[place]
                    assert at_work is not None
                    line = at_work.poll()
                    if line is None and left > awake:
                        busy[place] = pair, left - awake
                        continue
                    selector.unregister(at_work.answers)
                    del busy[place]
                    if line in (b"0", b"1"):
                        self._known[pair] = float(line == b"1")
                        continue
                    ended = None
                    if line != b"t":
                        ended, self._workers[place] = at_work.kill(), None
                    if not at_work.ready and line is not None and ended != -signal.SIGKILL:
                        self.close()
                        raise RuntimeError(f"a grader's worker did not start: exit status {ended}")
                    if pair not in tried:
                        tried.add(pair)
                        waiting.append(pair)
                    elif ended == -signal.SIGKILL or line is None:
                        self.close()
                        how = "was killed" if ended == -signal.SIGKILL and line is not None else "did not reply"
                        raise MemoryError(f"a grader's worker {how} twice at the same answer")


class _Worker:
    """One process that answers lines of JSON with `1`, `0` or `t`."""

    def __init__(self, seconds: float) -> None:
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "septet.empg.grader_worker", str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            env=environment, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self.answers = self._process.stdout
        os.set_blocking(self.answers.fileno(), False)
        self._rest = b""
        self.ready = False
        """Whether it has started: then what ends it has to do with an answer."""

    def send(self, pair: tuple[str, str]) -> None:
        """Ask; that the process has ended shows when it is polled."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(pair).encode() + b"\n")

    def poll(self) -> bytes | None:
        """The answer if it is there; an empty one if the process ended."""
        while b"\n" not in self._rest:
            try:
                data = os.read(self.answers.fileno(), 64)
            except BlockingIOError:
                return None
            if not data:
                return b""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        if line != b"r":
            return line
        self.ready = True
        return self.poll()

    def kill(self) -> int:
        """End the process; its exit status, the signal's number with a minus if one ended it."""
        self._process.kill()
        status = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return status
