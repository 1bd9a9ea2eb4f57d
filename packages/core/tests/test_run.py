"""The training loop: stopped anywhere and started again, a job ends with the same table."""

from typing import Annotated

import numpy as np
import polars as pl
import pytest

from septet import checkpoint
from septet.card import RunCard
from septet.cli import stop_request
from septet.config import PLACE, Settings
from septet.errors import InputError, Interrupted, NoState
from septet.history import History
from septet.run import Run
from septet.scores import read_scores, read_timing

NAMES = ["run.json", "scores.parquet", "timing.parquet"]


class Job(Settings):
    rate: float = 0.5
    seeds: list[int] = [3, 4]
    data_file: Annotated[str, PLACE] = ""


class Pair:
    """What a job of several processes sees of them, as process `rank`."""

    def __init__(self, rank, other=False):
        self.leads, self.other, self.asked = rank == 0, other, []

    def any(self, mine):
        self.asked.append(mine)
        return mine or self.other


def started(out, job, **options):
    named = {"paper": "toy", "method": "walk", "task": "line", "seeds": job.seeds}
    return Run(out, job, **named, packages=["septet"], libraries=["numpy"], **options)


def train(job, out, stop_at=None, total=6, **options):
    """A walk of two seeds; a signal comes in iteration `stop_at`. Returns the iterations that were done."""
    done = []
    with started(out, job, **options) as run:
        w, history = np.zeros(2), History(2)
        walk = {"w": w}
        for iteration in run.loop(total, {"walk": walk, "history": history}):
            done.append(iteration)
            stop_request.signal = 15 if iteration == stop_at else None
            w += job.rate * (iteration + np.array([1.0, 2.0]))  # a local that holds the state's array
            history.add(iteration + 1, {"place": walk["w"]})
        run.write(history.score_rows(*run.key, job.seeds), methods={"walk": {"rate": job.rate}}, steps=2 * total)
    return done


@pytest.fixture(autouse=True)
def no_signal():
    yield
    stop_request.signal = None


@pytest.mark.parametrize("stop_at", range(6))
def test_a_stopped_job_ends_with_the_bytes_of_the_whole_one(tmp_path, stop_at):
    assert train(Job(), tmp_path / "whole") == [*range(6)]
    with pytest.raises(Interrupted, match=f"stopped by signal 15 at {stop_at + 1} of 6 iterations, state saved"):
        train(Job(), tmp_path / "out", stop_at)
    assert train(Job(), tmp_path / "out") == [*range(stop_at + 1, 6)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == NAMES
    assert (tmp_path / "out/scores.parquet").read_bytes() == (tmp_path / "whole/scores.parquet").read_bytes()


def test_a_run_writes_its_tables_and_its_card(tmp_path, capsys):
    train(Job(), tmp_path)
    scores = read_scores(tmp_path / "scores.parquet").filter(seed=4)
    assert scores["value"].to_list() == [1.0, 2.5, 4.5, 7.0, 10.0, 13.5]  # 0.5 (2 + 3 + ...)
    timing = read_timing(tmp_path / "timing.parquet")
    assert timing.drop("seconds").rows() == [("toy", "walk", "line", 3, 6, "train")]
    card = RunCard.read(tmp_path / "run.json")
    assert (card.paper, card.verb, card.task, card.seeds, card.steps) == ("toy", "train", "line", [3, 4], 12)
    assert card.methods == {"walk": {"rate": 0.5}} and card.data == "simulated"
    assert "toy walk on line  6/6 iterations" in capsys.readouterr().err


def test_the_card_of_a_resumed_job_has_the_time_of_both_starts(tmp_path, monkeypatch):
    clock = [0.0]

    class Slow(History):
        def add(self, *values):
            clock[0] += 100.0
            super().add(*values)

    monkeypatch.setattr("septet.card.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(f"{__name__}.History", Slow)
    with pytest.raises(Interrupted):
        train(Job(), tmp_path, stop_at=3)
    train(Job(), tmp_path)
    assert RunCard.read(tmp_path / "run.json").wall_seconds == 600.0
    assert read_timing(tmp_path / "timing.parquet")["seconds"].to_list() == [600.0]


def test_a_job_is_not_resumed_from_another_s_state(tmp_path, capsys):
    with pytest.raises(Interrupted):
        train(Job(), tmp_path, stop_at=2)
    assert train(Job(rate=1.0), tmp_path) == [*range(6)]
    assert "a job with other settings" in capsys.readouterr().err


def test_a_data_file_may_move_but_not_change(tmp_path, capsys):
    def begin(data, file):
        with started(tmp_path, Job(data_file=file)) as run:
            for number in run.loop(3, {}, data=data):
                stop_request.signal = 15
                yield number

    with pytest.raises(Interrupted):
        list(begin("digest 1", "here"))
    assert next(begin("digest 1", "there")) == 1
    assert next(begin("digest 2", "here")) == 0
    assert "a job with other data\n" in capsys.readouterr().err


def test_units_other_than_iterations_are_counted_by_the_state(tmp_path, capsys):
    with started(tmp_path, Job()) as run:
        state = {"steps": 0}
        found = []
        for k in run.loop(25, state, unit="steps", done=lambda: state["steps"]):
            found.append(k)
            state["steps"] += 10
    assert found == [0, 1, 2] and "25 steps" in capsys.readouterr().err


def test_an_error_keeps_the_last_checkpoint_and_a_refusal_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(checkpoint.EVERY, "0")
    with pytest.raises(RuntimeError), started(tmp_path / "a", Job()) as run:
        for iteration in run.loop(3, {"w": np.zeros(1)}):
            if iteration == 2:
                raise RuntimeError
    assert (tmp_path / "a/checkpoint/000000000002.json").is_file()
    with pytest.raises(InputError), started(tmp_path / "b", Job()):
        raise InputError("data", expected="a file", found="none")
    assert not (tmp_path / "b").exists()


def test_a_state_may_be_saved_within_an_iteration(tmp_path):
    state = {"w": np.zeros(1)}
    with pytest.raises(RuntimeError), started(tmp_path, Job()) as run:
        for iteration in run.loop(3, state):
            if iteration == 1:
                assert run.save() == "at iteration 1, state saved"
                raise RuntimeError
    assert (tmp_path / "checkpoint/000000000001.json").is_file()


class Foreign:
    @property
    def state(self):
        raise NoState("task", expected="an environment with a state", found="another")

    @state.setter
    def state(self, saved): ...


def test_a_job_without_a_state_says_that_it_cannot_resume(tmp_path):
    with (
        pytest.raises(Interrupted, match="at 1 of 3 iterations, cannot resume: task: expected"),
        started(tmp_path, Job()) as run,
    ):
        for _ in run.loop(3, {"world": Foreign()}):
            stop_request.signal = 15


def test_all_processes_save_and_stop_together_and_one_writes(tmp_path, capsys):
    """Neither got a signal here: the other process did."""
    collected = []

    class Sharded:
        @property
        def state(self):
            collected.append(1)
            return {"w": np.ones(1)}

        @state.setter
        def state(self, saved): ...

    for rank, others in ((1, "second"), (0, "first")):
        with pytest.raises(Interrupted), started(tmp_path / others, Job(), processes=Pair(rank, other=True)) as run:
            for _ in run.loop(3, {"model": Sharded()}):
                pass
    assert len(collected) == 2  # both put the state together
    assert not (tmp_path / "second").exists() and (tmp_path / "first/checkpoint/000000000001.json").is_file()
    assert train(Job(), tmp_path / "second", processes=Pair(1)) == [*range(6)]
    assert not (tmp_path / "second").exists()
    assert capsys.readouterr().err.count("0/3 iterations") == 1


def test_a_process_that_does_not_write_is_not_asked_for_the_time(tmp_path, monkeypatch):
    monkeypatch.setenv(checkpoint.EVERY, "0")
    for rank in (0, 1):
        pair = Pair(rank)
        train(Job(), tmp_path / str(rank), total=1, processes=pair)
        assert pair.asked == [False, rank == 0]  # a signal? time to save?
    assert pl.read_parquet(tmp_path / "0/scores.parquet").height == 2
