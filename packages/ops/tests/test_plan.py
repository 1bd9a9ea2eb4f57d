"""The cost preview: scheduling, scaling rules, predictions, and what it says where nothing was recorded."""

import io
import json
import math

import pytest

from septet.errors import InputError
from septet.ops import benchmarks, language_models
from septet.ops.benchmarks import Benchmark, Recorded, Timed, gather, other_job
from septet.ops.plan import clock, main, make, read_jobs, text
from septet.ops.predict import FIXED, SCALING, Job, Predictor
from septet.ops.scaling import in_words, rules, work
from septet.ops.schedule import Task, longest_path, makespan
from septet.report.planned import Plan, plan_and_fact, read_plan
from septet.sealed import write_json
from septet.workflow_config import papers_here

from .conftest import build_card, times


def chain(*seconds, threads=1):
    return [Task(s, threads, (place - 1,) if place else ()) for place, s in enumerate(seconds)]


def test_a_chain_takes_its_sum_on_any_number_of_cores():
    assert longest_path(chain(3, 4, 5)) == makespan(chain(3, 4, 5), 8) == makespan(chain(3, 4, 5), 1) == 12


def test_cores_share_independent_jobs_and_wide_jobs_wait_for_room():
    three = [Task(2.0, 1, ())] * 3
    assert [makespan(three, cores) for cores in (1, 2, 3)] == [6, 4, 2]
    wide = [Task(2.0, 2, ()), Task(3.0, 1, ()), Task(1.0, 1, ())]
    assert makespan(wide, 2) == 5.0  # the long narrow one beside the short one, then the wide one
    assert makespan(wide, 1) == 6.0  # a job with more threads than cores takes all of them
    assert makespan([], 4) == 0.0


def test_work_that_threads_share_takes_longer_on_fewer_cores():
    shared = [Task(2.0, 8, (), divided=8), Task(3.0, 1, ())]
    assert [makespan(shared, cores) for cores in (2, 8, 9)] == [3.0 + 2.0 * 8 / 2, 5.0, 3.0]
    waiting = [Task(2.0, 8, ())]  # samplers that wait for each other
    assert makespan(waiting, 2) == 2.0


def test_the_longest_chain_goes_first():
    jobs = [Task(1.0, 1, ()), Task(1.0, 1, ()), Task(5.0, 1, (1,))]
    assert makespan(jobs, 1) == 7.0 and makespan(jobs, 2) == 6.0


CONFIGS = {
    "walle": ({"method": {}, "task": {"steps": 100, "seeds": [1, 2]}}, 200),
    "rl": ({"method": {}, "task": {}, "steps": 100, "seeds": [1, 2, 3]}, 300),
    "metaexplore": ({"method": {"kind": "training"}, "task": {"steps": 50}, "seeds": [0, 1]}, 100),
    "svrpo": (
        {
            "method": {"algorithm": "inner_loop", "single_step": False},
            "task": {"iterations": 2, "batch_size": 10, "inner_steps": 5},
            "seeds": [0],
        },
        100,
    ),
    "vipg": (
        {
            "method": {"alphas": [0.0, 0.1]},
            "task": {
                "kind": "environment", "environment": "Hopper-v5", "options": {}, "iterations": 3, "episodes": 4,
            },
            "seeds": [0],
        },
        24_000,
    ),
    "dynts": ({"method": {"schedules": ["a", "b"]}, "task": {"kind": "simulation"}, "horizon": 10, "seeds": [0]}, 20),
    "vrda": ({"method": {"l1": [0.0, 1.0]}, "task": {"train_lists": 5}, "epochs": 3, "seeds": [0]}, 30),
    "empg": (
        {"method": {"inner_steps": 2, "samples": None}, "task": {"steps": 3, "prompts": 4, "samples": 2}, "seeds": [0]},
        48,
    ),
}  # fmt: skip


@pytest.mark.parametrize("paper", CONFIGS)
def test_scaling_rules_by_hand(paper):
    config, expected = CONFIGS[paper]
    assert work(paper, "t", config) == expected and "seeds" in in_words(paper)
    twice = {**config, "seeds": list(range(2 * len(config.get("seeds", [0]))))}
    if "seeds" in config:
        assert work(paper, "t", twice) == 2 * expected
    assert work("another", "t", config) is None


def test_every_paper_of_the_table_has_a_rule():
    assert rules().keys() == papers_here().keys() and len(rules()) >= 9
    assert in_words("another") == ""


def record(method, task, rate, start=0.0, family="dynts", size=100.0):
    return Benchmark(family, method, task, size, rate * size, start)


def dynts_job(method, task, horizon, runtime=30, waits_for=()):
    config = {"method": {"schedules": ["none"]}, "task": {"kind": "simulation"}, "horizon": horizon, "seeds": [0]}
    return Job(
        rule="dynts_train",
        wildcards={"scale": "paper", "method": method, "task": task},
        threads=1,
        resources={"mem_mb": 2000, "runtime": runtime},
        benchmark=f"benchmarks/paper/dynts/{method}/{task}.jsonl",
        waits_for=list(waits_for),
        done=False,
        config=config,
    )


def predicted(records, job):
    return Predictor(Recorded(records, []), [job])(job)


def test_a_job_s_own_record_is_scaled_by_the_work():
    wall, low, high, basis = predicted([record("ts", "static", 0.1, start=2.0)], dynts_job("ts", "static", 1000))
    assert wall == pytest.approx(2.0 + 0.1 * 1000) and basis == "its own record (1)"
    grows = 1 - FIXED / 10.0  # the record took ten seconds
    assert low == pytest.approx((2.0 + 100 * grows) * math.exp(-SCALING))
    assert high == pytest.approx(FIXED + (2.0 + 100) * math.exp(SCALING))


def test_threads_share_the_work_as_far_as_there_are_cores():
    job = dynts_job("ts", "static", 1000)
    job = job.model_copy(update={"threads": 4, "config": {**job.config, "threads": 4}})
    plan = make([job], Recorded([record("ts", "static", 0.1)], []), (2, 4, 8))
    assert [wall.wall_s for wall in plan.walls] == [50.0, 25.0, 25.0]


def test_without_an_own_record_the_kin_that_predicts_best_is_taken_with_its_error():
    rates = {"a": 0.1, "b": 0.4}  # methods differ, tasks do not
    records = [record(m, t, r, size=1e4) for m, r in rates.items() for t in ("one", "two", "three")]
    wall, low, high, basis = predicted(records, dynts_job("a", "new", 1000))
    assert basis == "the same method, other tasks" and wall == pytest.approx(100)
    assert (math.log(high / wall), math.log(wall / low)) == pytest.approx((SCALING, SCALING), rel=0.05)
    tasks = {"one": 0.1, "two": 0.9}  # now tasks differ, methods do not
    records = [record(m, t, r, size=1e4) for t, r in tasks.items() for m in ("a", "b", "c")]
    assert predicted(records, dynts_job("new", "two", 1000))[3] == "the same task, other methods"


def test_the_error_of_leaving_out_widens_the_interval():
    noisy = [record("a", t, r, size=1e4) for t, r in (("one", 0.1), ("two", 1.0), ("three", 0.3))]
    calm = [record("a", t, 0.3, size=1e4) for t in ("one", "two", "three")]
    width = {name: (lambda p: p[2] / p[1])(predicted(rows, dynts_job("a", "new", 1000)))
             for name, rows in (("noisy", noisy), ("calm", calm))}  # fmt: skip
    assert width["noisy"] > 3 * width["calm"]


def test_a_job_that_nothing_compares_with_is_said_to_have_no_benchmark():
    plan = make([dynts_job("ts", "static", 10, runtime=2)], Recorded([], []))
    row = plan.rows[0]
    assert row.core_hours is None and row.wall_s is None and row.unknown == 1 and row.basis == "no benchmark"
    assert row.high == pytest.approx(2 / 60, rel=1e-2) and row.low == 0
    assert "no benchmark: dynts train, 1 of 1 jobs" in text(plan)
    lone = make([dynts_job("new", "new", 10)], Recorded([record("ts", "static", 0.1)], []))
    assert lone.rows[0].core_hours is None  # one record says nothing about how far off it is elsewhere


def test_timed_iterations_are_records_of_the_jobs_they_were_timed_at():
    config = {
        "method": {"algorithm": "inner_loop", "single_step": False}, "threads": 10, "seeds": list(range(10)),
        "task": {"iterations": 100, "batch_size": 10, "inner_steps": 5},
    }  # fmt: skip
    job = Job(
        rule="svrpo_train", wildcards={"scale": "paper", "method": "svrpo", "task": "ant"}, threads=10,
        resources={"runtime": 1}, benchmark="b", waits_for=[], done=False, config=config,
    )  # fmt: skip
    timed = Timed(paper="svrpo", task="ant", method="svrpo", cpu_seconds=6.0, source="a page")
    plan = make([job], Recorded([], [timed]))
    assert plan.estimates[0].wall_s == pytest.approx(6.0 * 100 * 10 / 10)
    assert plan.rows[0].late == 1 and "over the time limit: svrpo train" in text(plan)
    assert plan.estimates[0].high > 3.9 * plan.estimates[0].wall_s  # ten threads may be used by half


def test_large_language_models_get_bounds_from_operations_and_say_so():
    config = {
        "method": {"samples": None, "inner_steps": 1, "kl_loss": 0.0, "kl_reward": 0.0}, "seeds": [0, 1],
        "task": {
            "model": {"kind": "hub", "name": "Qwen/Qwen2.5-1.5B"}, "steps": 10, "prompts": 4, "samples": 2,
            "max_completion_length": 100, "eval_every": 5, "eval_prompts": 7,
        },
    }  # fmt: skip
    low, high = language_models.gpu_hours(config)
    operations = 2 * 1.5e9 * (10 * 4 * 2 * 100 * 10 + 3 * 7 * 100 * 2)
    assert low == pytest.approx(0.2 * operations / (0.4 * 989e12) / 3600)
    assert high == pytest.approx(operations / (0.03 * 312e12) / 3600)
    job = Job(
        rule="empg_train", wildcards={"scale": "paper", "method": "empg", "task": "q"}, threads=8,
        resources={"runtime": 60}, benchmark="b", waits_for=[], done=False, config=config,
    )  # fmt: skip
    row = make([job], Recorded([], [])).rows[0]
    assert row.gpu_hours == pytest.approx(math.sqrt(low * high), abs=1e-4) and "no benchmark" in row.basis
    assert language_models.gpus(config) == 4
    assert language_models.parameters("Qwen/Qwen2.5-14B-Instruct") == 14e9
    assert language_models.parameters("tiny") is None


def test_other_jobs_go_by_the_name_of_their_benchmark_file(tmp_path):
    assert other_job("dynts/figures.jsonl") == ("figures", "dynts")
    assert other_job("vrda/prepare_ewt.jsonl") == ("vrda_prepare", "prepare_ewt")
    assert other_job("empg/prepare/gsm8k.parquet.jsonl")[0] == "empg_prepare"
    assert other_job("dynts/ts/static.jsonl")[0] == "train"
    assert other_job("page.jsonl") == ("page", "")
    for name in ("dynts/figures.jsonl", "dynts/ts/static.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"s": 9.5, "cpu_time": "NA", "max_rss": 300.0}) + "\n")
    others = {"vrda/judge.jsonl": {"seconds": 1.0, "cpu_seconds": 0.5, "memory_mb": 50.0}}
    replaced = {"dynts/evaluate.jsonl": {"seconds": 2.0, "cpu_seconds": 1.5, "memory_mb": 60.0}}
    write_json(tmp_path / "benchmarks.json", {**others, **replaced})
    found = gather(tmp_path, tmp_path / "benchmarks.json")
    write_json(tmp_path / "benchmarks.json", found)
    assert found == {
        "dynts/figures.jsonl": {"seconds": 9.5, "cpu_seconds": None, "memory_mb": 300.0},
        **others,  # of a paper that was not run
    }
    figures = next(job for job in benchmarks.read(tmp_path).jobs if job.family == "figures")
    assert figures == Benchmark("figures", "dynts", "", 1.0, 9.5, 0.0)


def test_the_command_writes_the_plan_and_refuses_what_is_none(tmp_path, monkeypatch, capsys):
    jobs = [dynts_job("ts", "static", 10).model_dump(mode="json")]
    (tmp_path / "recorded").mkdir()
    arguments = ["--out", str(tmp_path / "paper"), "--benchmarks", str(tmp_path / "recorded")]
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(jobs)))
    main(arguments)
    assert "wall time on 256 cores" in capsys.readouterr().out
    assert isinstance(read_plan(tmp_path / "paper/plan.json"), Plan)
    for stdin, more, said in (
        ("", [], "expected jobs of tools/jobs.py"),
        ("[]", [], "expected jobs of tools/jobs.py"),
        (json.dumps([{"rule": 1}]), [], "job 0"),
        (json.dumps(jobs), ["--cores", "0"], "--cores: expected a positive number, found 0"),
        (json.dumps(jobs), ["--benchmarks", str(tmp_path / "none")], "expected a folder like published/"),
    ):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with pytest.raises(InputError) as error:
            main([*arguments, "--out", str(tmp_path / "bad"), *more])
        assert said in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "bad").exists()


def test_plan_and_fact_stand_side_by_side(tmp_path):
    from septet.report.tables import Runs
    from septet.scores import score_rows, write_scores, write_timing

    assert plan_and_fact(tmp_path) == []
    jobs = [dynts_job("ts", "static", 1000), dynts_job("ts", "drift", 1000)]
    recorded = Recorded([record("ts", "static", 0.1), record("ts", "drift", 0.1)], [])
    plan = make(jobs, recorded)
    write_json(tmp_path / "plan.json", plan.model_dump(mode="json"))
    card = build_card("a" * 12, methods={"ts": {}}, config={"method": {"name": "ts"}}, wall_seconds=90.0)
    (tmp_path / "dynts").mkdir()
    rows = [score_rows("dynts", "ts", "static", seeds=card.seeds, steps=[1], metrics={"regret": [[1.0]] * 3})]
    write_scores(tmp_path / "dynts/scores.parquet", rows)
    write_timing(tmp_path / "dynts/timing.parquet", [times(card, {"train": [90.0]})])
    write_json(tmp_path / "dynts/runs.json", Runs(scale="paper", runs=[card], tables={}).model_dump(mode="json"))
    (row,) = plan_and_fact(tmp_path)
    assert (row.paper, row.jobs, row.ran, row.fact_s, row.inside) == ("dynts", 2, 1, 90.0, 1)
    assert row.planned_s == pytest.approx(100.0) and row.low_s < 90.0 < row.high_s


def test_clock():
    assert [clock(s) for s in (5, 90, 7200, 200_000)] == ["5.0 s", "1.5 min", "2.0 h", "2.3 d"]


def test_jobs_are_read_or_refused():
    assert read_jobs(json.dumps([dynts_job("a", "b", 1).model_dump(mode="json")]))[0].rule == "dynts_train"
