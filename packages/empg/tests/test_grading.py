"""Graders: tricky answers, and hostile ones."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from septet.empg.grading import (
    ANSWER_CHARACTERS,
    MathGrader,
    gsm8k_normalised,
    gsm8k_strict,
    last_boxed,
    written_answer,
)
from septet.empg.problems import grade_chat, grade_terminated


@pytest.mark.parametrize(
    ("text", "gold", "strict", "normalised"),
    [
        ("so 3 + 4 = 7\n#### 7", "7", 1, 1),
        ("#### 1,234", "1234", 1, 1),
        ("#### -5", "-5", 1, 1),
        ("#### 7.0", "7", 0, 1),
        ("####7", "7", 0, 1),
        ("the answer is 7", "7", 0, 1),
        ("#### 7 and then #### 8", "7", 1, 0),
        ("#### 7 and then #### 8", "8", 0, 1),
        ("#### $7", "7", 0, 1),
        ("#### 07", "7", 0, 1),
        ("7 apples", "8", 0, 0),
        ("", "8", 0, 0),
        ("#### ", "8", 0, 0),
        ("#### 0", "-0", 0, 1),
        ("#### " + "9" * 50_000, "9", 0, 0),
    ],
)
def test_gsm8k(text, gold, strict, normalised):
    assert gsm8k_strict(text, gold) == strict
    assert gsm8k_normalised(text, gold) == normalised


def test_generated_tasks():
    assert grade_terminated("7,2#2", "2", True) == 1
    assert grade_terminated("7,2#2", "2", False) == 0
    assert grade_terminated("7,2@2", "2", True) == 0
    assert grade_terminated("7,2#3", "2", True) == 0
    assert grade_chat("3 - 5 = -2", "-2", True) == 1
    assert grade_chat("9 - 2", "7", True) == 0
    assert grade_chat("9-2", "-2", True) == 0  # a difference, not the number -2
    assert grade_chat("= 7.", "7", True) == 1
    assert grade_chat("= 7", "7", False) == 0


def test_boxes():
    assert last_boxed(r"so \boxed{\frac{1}{2}}.") == r"\frac{1}{2}"
    assert last_boxed(r"\boxed{1} no, \boxed{2}") == "2"
    assert last_boxed(r"\boxed{1} no, \boxed{2") is None
    assert last_boxed("none") is None
    assert written_answer("The answer is 42.") == "42"
    assert written_answer(r"\boxed{" + "1" * (ANSWER_CHARACTERS + 1) + "}") is None


@pytest.fixture(scope="module")
def grader():
    made = MathGrader()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (r"\frac{1}{2}", "0.5", 1),
        (r"\frac{1}{2}", r"\dfrac{1}{2}", 1),
        ("42", r"x = 42", 1),
        (r"2\sqrt{3}", r"\sqrt{12}", 1),
        ("(1,2)", "(2,1)", 0),
        (r"x^2+2x+1", r"(x+1)^2", 1),
        ("10", r"10\%", 1),
        ("-2 + 7i", "7i-2", 1),
        (r"\text{Evelyn}", "Evelyn", 1),
        ("12", "13", 0),
        ("41", "42, 41", 0),
    ],
)
def test_math(grader, gold, answer, right):
    assert grader([rf"thus \boxed{{{answer}}}"], [gold]) == [right]


HOSTILE = [
    "9^{9^{9^{9^{9}}}}",
    "10^{10^{10}}",
    "2^{2^{2^{2^{2^{2}}}}}",
    "(10^{8})!",
    "1000000000!!",
    r"\sum_{k=1}^{100000000} \frac{1}{k^2}",
    r"\prod_{k=1}^{10000000} k",
    r"\int_0^1 \sin(x^{x^{x}}) e^{x^7} dx",
    r"\lim_{n \to \infty} (1+1/n)^{n^{n}}",
    "{" * 90 + "1" + "}" * 90,
    "(" * 95 + "1" + ")" * 95,
    r"\frac{" * 25 + "1" + "}{2}" * 25,
    r"\sqrt{" * 28 + "2" + "}" * 28,
    "(a+b+c+d+e+f)^{200}",
    r"\begin{pmatrix}" + r"a&b\\" * 25 + r"\end{pmatrix}^{50}",
    r"\{" + ",".join(str(n) for n in range(60)) + r"\}",
    "__import__('os').system('touch /tmp/owned')",
    "\x00\x1b[31m\x07",
    "\\" * 150,
    "$$$$$$" * 30,
    "^" * 190,
    "1" + "+1" * 90,
    "1e999999999",
    "0x" + "f" * 180,
    "\u202e42\u202c" * 20,
    r"\frac{1}{0}",
    "x" * 190,
    "-" * 190 + "1",
    "((((((((((2^99999)^99999)^99999)^99999)^99999)^99999)^99999)^99999)^99999)^99999)",
    "\ud800",
    "2^{(10^{10})}",
    "((((((9!)!)!)!)!)!)",
    "1/(10^{9})!",
    r"\binom{10^{9}}{10^{8}}",
    r"\{" * 30,
    ",".join(f"x^{n}" for n in range(25)),
    r"\pm" * 60,
    "=" * 190,
    "7=" * 60 + "8",
    r"\sqrt{2+10^{-2000}}",
]


def test_hostile_answers_neither_stall_nor_kill_a_run():
    """Each is wrong, none takes longer than its limit and a new worker's start, and the grader goes on."""
    grader = MathGrader(seconds=0.3)
    for answer in HOSTILE:
        start = time.monotonic()
        assert grader([rf"\boxed{{{answer}}}"], ["7"]) == [0.0], answer
        assert time.monotonic() - start < 60, answer  # its CPU time is limited, whatever else runs here
    assert grader([r"\boxed{0.5}"], [r"\frac12"]) == [1.0]
    grader.close()


@pytest.mark.parametrize("text", ["#" * 200_000, "\\boxed{" * 20_000, "}" * 200_000, "9," * 100_000, "-" * 100_000])
def test_endless_texts_are_quick(grader, text):
    start = time.monotonic()
    assert gsm8k_strict(text, "7") == gsm8k_normalised(text, "7") == 0
    assert grader([text], ["7"]) == [0.0]
    assert grade_chat(text, "7", True) == 0
    assert time.monotonic() - start < 2


def test_a_killed_worker_costs_no_reward():
    """A worker that is killed from outside while it grades is replaced, and its answer graded anew."""
    made = MathGrader()
    assert made([r"\boxed{0.5}"], [r"\frac12"]) == [1.0]
    for _ in range(2):
        os.kill(made._workers[0]._process.pid, signal.SIGSTOP)  # so that the next answer finds it dead
        killer = threading.Timer(0.3, os.kill, (made._workers[0]._process.pid, signal.SIGKILL))
        killer.start()
        made._known.clear()
        assert made([r"\boxed{0.25}"], [r"\frac14"]) == [1.0]
    made.close()


def test_a_job_that_is_suspended_marks_nothing_wrong():
    """All processes stop for longer than an answer may take, and go on; a CPU clock stood still meanwhile."""
    code = """if True:
        from septet.empg.grading import MathGrader
        grader = MathGrader(seconds=1.0)
        grader([r"\\\\boxed{x}"], ["y"])
        print("start", flush=True)
        marks = grader([r"\\\\boxed{%d x/%d}" % (k, 2 * k) for k in range(3, 403)], ["0.5x"] * 400)
        print(int(sum(marks)), flush=True)
    """.replace("\\\\\\\\", "\\\\")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "start\n"
    for _ in range(2):
        time.sleep(0.1)
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)]
        for one in family:
            one.suspend()
        time.sleep(2.5)
        assert all(one.status() == psutil.STATUS_STOPPED for one in family)
        for one in family:
            one.resume()
    assert process.stdout.read() == "400\n"
    assert process.wait() == 0


def test_a_limit_reached_is_tried_again_and_is_no_judgement():
    made = MathGrader(seconds=0.2)
    slow = r"\int_0^1 \sin(x^{x^{x}}) e^{x^7} dx"
    assert made([rf"\boxed{{{slow}}}", r"\boxed{0.5}"], ["7", r"\frac12"]) == [0.0, 1.0]
    assert made._known == {(r"\frac12", "0.5"): 1.0}
    made.close()


def test_a_worker_that_is_killed_twice_at_an_answer_is_a_failure_and_no_mark():
    """As the system does that runs out of memory."""
    made = MathGrader()
    assert made([r"\boxed{0.5}"], [r"\frac12"]) == [1.0]
    os.kill(made._workers[0]._process.pid, signal.SIGSTOP)  # so that it does not reply before it is killed
    done = threading.Event()

    def kill():
        while not done.wait(0.02):
            if (worker := made._workers[0]) is not None:
                worker._process.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(MemoryError, match="a grader's worker was killed twice at the same answer"):
            made([r"\boxed{0.25}"], [r"\frac14"])
    finally:
        done.set()
        killer.join()
    assert made([r"\boxed{0.25}"], [r"\frac14"]) == [1.0]
    made.close()


def test_a_worker_that_cannot_start_is_no_wrong_answer(monkeypatch):
    monkeypatch.setattr("septet.empg.grading.sys.executable", "/bin/false")
    with pytest.raises(RuntimeError, match="a grader's worker did not start: exit status 1"):
        MathGrader()([r"\boxed{0.5}"], [r"\frac12"])


def test_a_result_is_kept():
    made = MathGrader()
    made([r"\boxed{0.5}"] * 50, [r"\frac12"] * 50)
    start = time.monotonic()
    assert made([r"\boxed{0.5}"] * 500, [r"\frac12"] * 500) == [1.0] * 500
    assert time.monotonic() - start < 0.5
    made.close()
