"""Graders of written answers. Model output is hostile input: it is cut, compared as text first, and whatever
needs algebra goes to a worker process that may be killed (`empg.grader_worker`).
"""

import json
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

ANSWER_CHARACTERS = 200
"""Longer answers are wrong without a look: no gold answer of MATH is half as long."""
TEXT_CHARACTERS = 100_000
WORKER_SECONDS = 2.0
"""Limit for one answer, after which the worker is killed. Its own alarm rings after half of it."""
START_SECONDS = 60.0
STRICT = re.compile(r"#### (-?[0-9.,]+)")
PLAIN = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def gsm8k_strict(text: str, gold: str) -> float:
    """The published reward: the first `#### number`, commas left out, equal to the gold answer as a string."""
    found = STRICT.search(text[:TEXT_CHARACTERS])
    return float(found is not None and found.group(1).replace(",", "") == gold)


def gsm8k_normalised(text: str, gold: str) -> float:
    """The number after the last `####`, or the last number of the text, equal to the gold answer in value."""
    _, mark, after = text[-TEXT_CHARACTERS:].rpartition("####")
    found = PLAIN.findall(after if mark else text[-TEXT_CHARACTERS:])
    if not found:
        return 0.0
    number = (found[0] if mark else found[-1]).replace(",", "")
    return float(_decimal(number) == _decimal(gold))


def _decimal(number: str) -> str:
    """A decimal numeral without superfluous zeros; as text, for a number of a thousand digits is legal too."""
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    whole, _, part = digits.partition(".")
    whole, part = whole.lstrip("0") or "0", part.rstrip("0")
    value = f"{whole}.{part}" if part else whole
    return value if value == "0" else sign + value


def last_boxed(text: str) -> str | None:
    r"""Inside of the last whole `\boxed{...}` or `\fbox{...}`, found in one pass; none if there is none."""
    text = text[-TEXT_CHARACTERS:]
    for start in sorted((m.end() for m in re.finditer(r"\\f?box(?:ed)?\{", text)), reverse=True)[:20]:
        depth = 1
        for index in range(start, min(len(text), start + 2 * ANSWER_CHARACTERS)):
            depth += (text[index] == "{") - (text[index] == "}")
            if depth == 0:
                return text[start:index].strip()
    return None


def written_answer(text: str) -> str | None:
    """The last boxed answer, or what follows the last `answer is`; none if neither is there or it is too long."""
    answer = last_boxed(text)
    if answer is None:
        _, mark, after = text[-TEXT_CHARACTERS:].rpartition("answer is")
        answer = after.split("\n")[0].strip().rstrip(".").strip("$: ") if mark else None
    return answer if answer and len(answer) <= ANSWER_CHARACTERS else None


def plain(answer: str) -> str:
    """An answer without what never changes its value: spaces, dollar signs, display style, a full stop."""
    answer = re.sub(r"\\left|\\right|\\[!,;:]|\\?\$|\s", "", answer).replace("dfrac", "frac").replace("tfrac", "frac")
    return answer.rstrip(".")


class MathGrader:
    """Compares answers of MATH by value, through `math-verify` in worker processes.

    A worker has a memory limit and an alarm of its own; one that does not answer in time is killed and a new
    one takes its place, and the answer counts as wrong. Results are kept: samples repeat answers.

    Args:
        workers: processes.
        seconds: limit for one answer.
    """

    def __init__(self, workers: int = 1, seconds: float = WORKER_SECONDS) -> None:
        self.seconds = seconds
        self._workers: list[_Worker | None] = [None] * workers
        self._known: dict[tuple[str, str], float] = {}

    def __call__(self, texts: Sequence[str], golds: Sequence[str]) -> list[float]:
        """1.0 for each right answer, 0.0 for wrong, missing and over-long ones, and for those that break the worker."""
        answers = [written_answer(text) for text in texts]
        asked = {
            (gold, answer)
            for gold, answer in zip(golds, answers, strict=True)
            if answer is not None and plain(answer) != plain(gold) and (gold, answer) not in self._known
        }
        self._ask(sorted(asked))
        return [
            0.0 if answer is None else 1.0 if plain(answer) == plain(gold) else self._known[gold, answer]
            for gold, answer in zip(golds, answers, strict=True)
        ]

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            if worker is not None:
                worker.kill()
        self._workers = [None] * len(self._workers)

    def _ask(self, pairs: list[tuple[str, str]]) -> None:
        """Fill the results of pairs, several workers at a time."""
        waiting = list(reversed(pairs))
        again = set[tuple[str, str]]()  # their worker died: perhaps by no fault of theirs, so each has a second one
        busy: dict[int, tuple[tuple[str, str], float]] = {}
        with selectors.DefaultSelector() as selector:
            while waiting or busy:
                for place in range(len(self._workers)):
                    if place not in busy and waiting:
                        worker = self._workers[place] = self._workers[place] or _Worker(self.seconds)
                        pair = waiting.pop()
                        patience = self.seconds + (0.0 if worker.ready else START_SECONDS)
                        if worker.send(pair):
                            selector.register(worker.answers, selectors.EVENT_READ, place)
                            busy[place] = pair, time.monotonic() + patience
                        else:
                            self._retire(place)
                            waiting.append(pair)
                if not busy:
                    continue
                selector.select(max(0.0, min(end for _, end in busy.values()) - time.monotonic()))
                for place, (pair, end) in list(busy.items()):
                    at_work = self._workers[place]
                    assert at_work is not None
                    line = at_work.poll()
                    if line is None and time.monotonic() < end:
                        continue
                    selector.unregister(at_work.answers)
                    del busy[place]
                    if line not in (b"0", b"1"):  # too slow, or dead: of memory, of depth, or killed from outside
                        self._retire(place)
                    if line == b"" and pair not in again:
                        again.add(pair)
                        waiting.append(pair)
                    else:
                        self._known[pair] = float(line == b"1")

    def _retire(self, place: int) -> None:
        worker = self._workers[place]
        if worker is not None:
            worker.kill()
        self._workers[place] = None


class _Worker:
    """One process that answers lines of JSON with `1` or `0`."""

    def __init__(self, seconds: float) -> None:
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "empg.grader_worker", str(seconds / 2)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            env=environment, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self.answers = self._process.stdout
        self.ready = False
        os.set_blocking(self.answers.fileno(), False)
        self._read = partial(os.read, self.answers.fileno(), 64)
        self._rest = b""

    def send(self, pair: tuple[str, str]) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(pair).encode() + b"\n")
        except OSError:
            return False
        return True

    def poll(self) -> bytes | None:
        """The answer if it is there; an empty one if the process ended."""
        try:
            data = self._read()
        except BlockingIOError:
            return None
        if not data:
            return b""
        self._rest += data
        line, newline, self._rest = self._rest.partition(b"\n")
        if not newline:
            self._rest = line
            return None
        self.ready = True
        return line

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
