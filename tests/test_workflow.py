"""The workflow as a user meets it: a run, what it reruns, redrawing, use as a module."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from markupsafe import escape

from septet.files import sha256

TRAINING = {
    *(f"dynts_train {method}/static" for method in ("random", "greedy", "ts")),
    *(
        f"dynts_train {method}/tau200"
        for method in ("oracle", "ucb", "ts", "ts_quarter", "ts_window", "ts_kalman", "beta")
    ),
    "dynts_train ts_diagonal/shared1000",
    "dynts_train tracker/headlines",
    "dynts_train headline_ts/headline_bandit",
}
END = {"page", "crate", "all"}


def after(*papers):
    """What follows from new runs of papers."""
    return {f"{rule} {paper}" for paper in papers for rule in ("evaluate", "judge")} | {
        *(f"{paper}_figures" for paper in papers),
        *END,
    }


LEARNERS = ("perceptron", "vrda_hinge", "vrda_log", "rda_hinge_tuned", "fobos", "maxent")
VRDA = {"vrda_prepare", *(f"vrda_train {learner}/craft_small" for learner in LEARNERS)}
WALLE = {f"walle_train {job}" for job in ("n1/half_cheetah", "alternating/slow_simulator")}
SVRPO_JOBS = ("trpo/cart_pole", "svrpo/cart_pole", "full/cart_pole", "svrpg/pendulum", "estimators/bandit")
SVRPO = {f"svrpo_train {job}" for job in SVRPO_JOBS}
META_JOBS = ("meta/navigation", "frozen/navigation", "signal/navigation", "ou/navigation")
META = {f"metaexplore_train {job}" for job in META_JOBS}
VIPG = {
    *(f"vipg_train {method}/cart_pole" for method in ("trpo", "v_trpo", "v_ppo", "svpg", "action_sgd")),
    "vipg_train v_trpo_wide/sparse_car",
    "vipg_train posterior/quadratic",
    "vipg_train posterior_modes/surface",
}
EMPG = {f"empg_train {job}" for job in ("empg/warm", "grpo/warm", "empg_kl/cold", "ppo/steps")}
PAPERS = ("dynts", "vrda", "walle", "svrpo", "metaexplore", "vipg", "empg")
FIGURES = {f"{paper}_figures" for paper in PAPERS}
DRAWN = after(*PAPERS)
EVERY = {"dynts_prepare", *TRAINING, *VRDA, *WALLE, *SVRPO, *META, *VIPG, *EMPG, *DRAWN}


def edited(path: Path):
    """Append a comment to a file; undo puts back the very bytes and times."""
    before, status = path.read_bytes(), path.stat()
    path.write_bytes(before + b"\n# edited\n")

    def undo():
        path.write_bytes(before)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return undo


def test_a_run_leaves_verdicts_figures_and_a_page(smoke):
    results = smoke.folder / "results/smoke"
    verdicts = json.loads((results / "report/verdicts.json").read_text())
    assert {verdict["verdict"] for verdict in verdicts} == {"not judged at this scale"}
    page = (results / "report/index.html").read_text()
    assert all(escape(verdict["statement"].split(",")[0]) in page for verdict in verdicts)
    for suffix in ("svg", "pdf", "png", "csv", "md", "tex", "json"):
        assert len(list((results / "figures/dynts").glob(f"*.{suffix}"))) == 7
    scores = pl.read_parquet(results / "dynts/scores.parquet")
    assert scores["task"].unique().sort().to_list() == [
        "headline_bandit", "headlines", "shared1000", "static", "tau200",
    ]  # fmt: skip
    crate = {one["@id"]: one for one in json.loads((results / "ro-crate-metadata.json").read_text())["@graph"]}
    assert crate["report/index.html"]["sha256"] == sha256(results / "report/index.html")
    log = (smoke.folder / "logs/smoke/dynts/ts/tau200.log").read_text()
    assert "rounds/s" in log and "left" in log
    benchmark = (smoke.folder / "benchmarks/smoke/dynts/ts/tau200.jsonl").read_text()
    assert json.loads(benchmark)["s"] > 0


def test_a_second_run_has_nothing_to_do_and_says_so_quickly(smoke):
    start = time.monotonic()
    done = smoke.snakemake("--profile", "profiles/local", "--config", "scale=smoke")
    assert "Nothing to be done" in done.stdout
    assert time.monotonic() - start < 10  # under 3 s on an idle machine; other tests run beside this one


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("packages/dynts/src/septet/dynts/filter.py", {"dynts_prepare", *TRAINING, *after("dynts")}),
        ("packages/vrda/src/septet/vrda/kernels.py", {*VRDA, *after("vrda")}),
        (
            "packages/rl/src/septet/rl/gaussian.py",
            {*WALLE, *SVRPO, *META, *VIPG, *after("walle", "svrpo", "metaexplore", "vipg")},
        ),
        ("packages/svrpo/src/septet/svrpo/network_passes.py", {*SVRPO, *after("svrpo")}),
        ("packages/metaexplore/src/septet/metaexplore/teacher.py", {*META, *after("metaexplore")}),
        ("packages/vipg/src/septet/vipg/samplers.py", {*VIPG, *after("vipg")}),
        ("packages/core/src/septet/seeding.py", EVERY),
        ("packages/report/src/septet/report/charts.py", {*FIGURES, *END}),
        ("packages/report/src/septet/report/theme.py", {*FIGURES, *END}),
        ("packages/report/src/septet/report/papers/dynts.py", {"dynts_figures", *END}),
        ("packages/report/src/septet/report/papers/vipg_posterior.py", {"vipg_figures", *END}),
        ("packages/report/src/septet/report/estimands.py", {*(f"judge {paper}" for paper in PAPERS), *END}),
        ("packages/report/src/septet/report/merge.py", DRAWN),
        ("packages/report/src/septet/report/template/page.css", END),
        ("packages/ops/src/septet/ops/crate.py", {"crate", "all"}),
        ("config/claims/dynts.yaml", {"judge dynts", *END}),
        ("requirements.lock", EVERY),  # the lock is the software environment of every rule
    ],
)
def test_an_edit_reruns_what_follows_from_it_and_nothing_else(smoke, file, expected):
    undo = edited(smoke.folder / file)
    try:
        assert smoke.planned() == expected
    finally:
        undo()


def test_what_no_job_reads_reruns_nothing(smoke):
    for file in (
        "packages/core/src/septet/workflow_config.py",  # it plans jobs, none reads it
        "packages/dynts/src/septet/dynts/cost.py",  # for make plan
        "packages/ops/src/septet/ops/plan.py",
        "packages/report/src/septet/report/terminal.py",
        "README.md",
        "packages/dynts/README.md",
        "config/README.md",
        "packages/dynts/tests/test_filter.py",
        "Makefile",
        *(smoke.folder / "docs").rglob("*.md"),
    ):
        edited(smoke.folder / file)
    assert smoke.planned() == set()


@pytest.mark.parametrize(
    ("change", "trained"),
    [
        ('dynts={"methods": {"ts": {"schedules": ["none", "exp-0.9"]}}}',
         {"dynts_train ts/static", "dynts_train ts/tau200"}),
        ('dynts={"tasks": {"tau200": {"period": 150}}}',
         {job for job in TRAINING if job.endswith("/tau200")}),
        ('dynts={"horizon": 500}', TRAINING),
    ],
)  # fmt: skip
def test_a_hyper_parameter_reruns_the_jobs_that_use_it(smoke, change, trained):
    done = smoke.planned(change)
    assert done == {*trained, *after("dynts")}


def test_results_do_not_hang_on_the_shell_s_environment(smoke):
    assert smoke.planned(SEPTET_DATA="somewhere") == set()


def test_redrawing_trains_nothing_and_gives_the_same_figures(smoke):
    papers = ("dynts", "svrpo")
    config = ["--cores", "2", "--config", "adopt=results/smoke", f"papers=[{','.join(papers)}]"]
    planned = smoke.snakemake("-n", *config, "--", "figures")
    assert "dynts_train" not in planned.stdout and "adopt" in planned.stdout
    done = smoke.snakemake(*config, "--", "figures")
    assert done.returncode == 0, done.stdout[-3000:]
    for paper in papers:
        before, after = (smoke.folder / f"results/{name}" for name in ("smoke", "published"))
        assert sha256(before / paper / "verdicts.json") == sha256(after / paper / "verdicts.json")
        drawn = [file for file in sorted((before / "figures" / paper).iterdir()) if file.suffix != ".pdf"]
        assert len(drawn) > 6 * 6
        for file in drawn:  # a PDF of the same drawing has other bytes each time
            assert sha256(file) == sha256(after / "figures" / paper / file.name), file.name


def test_publishing_keeps_scores_and_cards_with_checksums(smoke):
    done = make(smoke, "publish", "SCALE=smoke", "PAPERS=dynts, svrpo")
    assert done.returncode == 0, done.stdout[-3000:]
    manifest = json.loads((smoke.folder / "published/smoke/manifest.json").read_text())
    for name, expected in manifest["files"].items():
        assert sha256(smoke.folder / "published/smoke" / name) == expected
    assert smoke.planned() == set()  # publishing is no input of a run


def make(house, *arguments):
    """A target of the Makefile in the copy, with this Python in the place of the one that set-up would make."""
    command = ["make", "--no-print-directory", f"BIN={Path(sys.executable).parent}", "-o", "setup", *arguments]
    return subprocess.run(
        command, cwd=house.folder, env=house.environment(), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_snakemake_draws_its_own_report(smoke):
    done = smoke.snakemake("--config", "scale=smoke", "--report", "snakemake-report.zip")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (smoke.folder / "snakemake-report.zip").stat().st_size > 100_000


def test_another_workflow_uses_it_as_a_module(smoke, tmp_path):
    (tmp_path / "Snakefile").write_text(f"""
module septet:
    snakefile: {str(smoke.folder / "workflow/Snakefile")!r}
    config: {{"scale": "smoke", "dynts": {{"seeds": [3, 4]}}}}

use rule * from septet as septet_*

rule mine:
    default_target: True
    input: "results/smoke/dynts/runs/ts/tau200/scores.parquet"
    output: "rows.txt"
    shell: "wc -c {{input}} > {{output}}"
""")
    done = smoke.snakemake("--cores", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "rows.txt").is_file()
    scores = pl.read_parquet(tmp_path / "results/smoke/dynts/runs/ts/tau200/scores.parquet")
    assert scores.filter(pl.col("metric") == "regret")["seed"].unique().sort().to_list() == [3, 4]


def test_a_checkout_below_a_path_with_a_space_runs_natively(house, tmp_path):
    """Snakemake takes no container image whose path has a space; natively it needs none."""
    spaced = type(house)(tmp_path / "with space/septet")
    shutil.copytree(house.folder, spaced.folder, ignore=shutil.ignore_patterns("results", "published", ".snakemake"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/Snakefile").write_text("""
module septet:
    snakefile: "../with space/septet/workflow/Snakefile"
    config: {"scale": "smoke", "papers": ["dynts"]}

use rule * from septet as septet_*
""")
    for cwd in (spaced.folder, tmp_path / "mine"):
        target = "results/smoke/dynts/verdicts.json"
        done = spaced.snakemake("-n", "--cores", "1", "--config", "scale=smoke", "--", target, cwd=cwd)
        assert done.returncode == 0 and "dynts_train" in done.stdout, done.stdout[-3000:]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["figures/svrpo/returns.svg", "figures/vipg/alpha.csv", "figures/dynts/memory.pdf", "vrda/runs.json"],
            {"svrpo_figures", "vipg_figures", "dynts_figures", *after("vrda")},
        ),
        (
            ["walle/verdicts.json", "empg/verdicts.tex", "report/verdicts.json", "ro-crate-metadata.json"],
            {"judge walle", "judge empg", *END},
        ),
        (["figures/walle/speedup.png", "figures/walle/shares.tex", "report/index.html"], {"walle_figures", *END}),
        (["svrpo/runs/trpo/cart_pole/timing.parquet"], {"svrpo_train trpo/cart_pole", *after("svrpo")}),
    ],
)
def test_missing_files_of_a_finished_run_are_made_again(smoke, names, expected):
    files = [smoke.folder / "results/smoke" / name for name in names]
    for file in files:
        file.rename(f"{file}.away")
    try:
        planned = smoke.planned()
    finally:
        for file in files:
            Path(f"{file}.away").rename(file)
    assert {job for job in planned if "_train" in job} == {job for job in expected if "_train" in job}
    assert expected - END <= planned <= expected | END


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("papers=dynts vrda dynt", "found dynt"),
        ('dynts={"methods": {"ts": {"epsilon": 2}}}', "methods.ts.epsilon: expected less than or equal to 1, found 2"),
        ('dynts={"horizon": 3, "horizon": 4}', "--config dynts: expected YAML, found the key horizon again"),
    ],
)
def test_a_bad_configuration_is_refused_before_anything_runs(house, config, says):
    done = house.snakemake("-n", "--cores", "1", "--config", config)
    assert done.returncode == 2 and "Traceback" not in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if ": expected " in line]
    assert says in line


def test_a_failed_job_shows_its_one_line(house, tmp_path):
    """The message of a package's command reaches the terminal, and the outputs of the job are not there."""
    done = house.snakemake(
        "--profile", "profiles/local", "--config", "scale=smoke", 'dynts={"data_source": "real"}',
        "data_dir=" + str(tmp_path), "--", "results/smoke/dynts/data/upworthy.parquet",
    )  # fmt: skip
    assert done.returncode != 0
    assert f"dynts: data_dir {tmp_path}: expected the file upworthy-exploratory/" in done.stdout
    assert not (house.folder / "results/smoke/dynts/data/upworthy.parquet").exists()


def test_a_configuration_file_is_read_as_strictly_as_a_package_reads_its_own(house, tmp_path):
    (tmp_path / "mine.yaml").write_text("dynts:\n  horizon: 500\n  horizon: 600\n", encoding="utf-8")
    done = house.snakemake("-n", "--cores", "1", "--configfile", str(tmp_path / "mine.yaml"))
    assert done.returncode == 2 and "Traceback" not in done.stdout
    assert "found the key horizon again" in done.stdout


def test_a_number_is_read_as_the_package_reads_it(house, tmp_path):
    """YAML 1.1 reads 1e-4, without a dot, as text."""
    (tmp_path / "rate.yaml").write_text(
        "papers: [rl]\nscale: smoke\nrl:\n  methods:\n    ppo: {learning_rate: 1e-4}\n", encoding="utf-8"
    )
    target = "results/smoke/rl/runs/ppo/inverted_pendulum/scores.parquet"
    done = house.snakemake("-n", "-p", "--cores", "1", "--configfile", str(tmp_path / "rate.yaml"), "--", target)
    assert done.returncode == 0, done.stdout[-3000:]
    assert '"learning_rate": 0.0001' in done.stdout


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("results/smoke/dynts/runs/nobody/static/scores.parquet", "dynts: methods: expected one of random, oracle, "),
        ("results/smoke/nothing/scores.parquet", "configuration: papers: expected some of dynts, vrda, "),
    ],
)
def test_a_target_that_names_nothing_is_refused_in_one_line(house, target, says):
    done = house.snakemake("-n", "--cores", "1", "--config", "scale=smoke", "--", target)
    assert done.returncode == 2 and "Traceback" not in done.stdout
    assert says in done.stdout


def test_a_file_of_settings_is_read_strictly_before_snakemake_reads_it(house, tmp_path):
    """A few nested merges would keep Snakemake's own loader busy for hours."""
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: 1}}" for n in range(1, 30)]
    (tmp_path / "mine.yaml").write_text("\n".join(lines), encoding="utf-8")
    start = time.monotonic()
    done = make(house, "reproduce", f"CONFIG={tmp_path / 'mine.yaml'}")
    assert done.returncode == 2 and "found a merge" in done.stdout and "snakemake" not in done.stdout.splitlines()[-2]
    assert time.monotonic() - start < 30


def test_the_scheduler_starts_no_timers(smoke):
    """Rationed submissions start a timer in each pass, which polls for the rest of the run and holds up its end."""
    code = """
import threading
from snakemake.cli import main
try:
    main("--cores 1 --quiet all --config scale=smoke --force -- results/smoke/dynts/verdicts.json".split())
except SystemExit as end:
    print("timers", sum(isinstance(thread, threading.Timer) for thread in threading.enumerate()), "exit", end.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=smoke.folder, env=smoke.environment(), capture_output=True, text=True
    )  # fmt: skip
    assert "timers 0 exit 0" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
