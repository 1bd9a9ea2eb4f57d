"""A small results folder with two made-up papers, and the claims about them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from septet.card import RunCard
from septet.config import validate
from septet.report import merge, papers
from septet.report.__main__ import Judge, judge
from septet.report.claims import ClaimsFile
from septet.report.draw import draw
from septet.scores import TIMING, score_rows, write_scores, write_timing
from septet.seeding import stream

RATES = {"ts/exp-0.99": 0.45, "ts/exp-0.999": 0.31, "ts/none": 0.24, "ucb": 0.22, "random": 0.9}
DRIFT = {"static": 0.0, "drift": 1.0, "reset": 0.6}
HOSTILE = "<script>alert(1)</script> and {{7*7}} stand here as text"


def build_card(run: str, **changes: object) -> RunCard:
    fields: dict[str, object] = {
        "id": run,
        "paper": "dynts",
        "verb": "train",
        "task": "static",
        "methods": {"a": {}},
        "seeds": [0, 1, 2],
        "config": {},
        "data": "simulated",
        "sources": {"dynts": "0" * 64},
        "lock": None,
        "image": None,
        "versions": {"python": "3.11.9", "numpy": "2.4.6"},
        "host": {"name": "laptop", "machine": "x86_64", "system": "Linux", "cores": 2},
        "started": "2026-02-03T10:00:00Z",
        "wall_seconds": 61.0,
        "cpu_seconds": 118.5,
        "peak_memory_mb": 312.4,
        "steps": 500_000,
        "steps_per_second": 8196.7,
    }
    return RunCard.model_validate(fields | changes)


def write_run(folder: Path, card: RunCard, value, *, steps=(0, 50, 100), metric="regret") -> Path:
    """One run folder; `value(method, seeds, steps)` gives an array of shape (seeds, steps)."""
    frames = [
        score_rows(
            card.paper, method, card.task, seeds=card.seeds, steps=steps, metrics={metric: value(method, card, steps)}
        )
        for method in card.methods
    ]
    write_scores(folder / "scores.parquet", frames)
    write_timing(folder / "timing.parquet", [times(card, {"train": [card.wall_seconds]})])
    card.write(folder / "run.json")
    return folder


def times(card: RunCard, phases: dict[str, list[float]]) -> pl.DataFrame:
    """Rows of the timing table: seconds of each phase, one value per iteration."""
    rows = [
        (card.paper, method, card.task, card.seeds[0], step, phase, value)
        for method in card.methods
        for phase, values in phases.items()
        for step, value in enumerate(values)
    ]
    return pl.DataFrame(rows, schema=TIMING, orient="row")


def demo_value(method, card, steps):
    world = DRIFT[card.task]
    forgets = {"ts/exp-0.99": 0.0, "ts/exp-0.999": 0.3}.get(method, 0.8 if method != "random" else 0.0)
    rate = RATES[method] * (1 + 0.05 * stream(1, "demo", method, card.task).standard_normal(len(card.seeds)))
    growth = np.log1p(np.asarray(steps)[None] / 50.0) * 60 + np.asarray(steps)[None] * (world * forgets + 0.05)
    return rate[:, None] * growth + 2.0 * np.sqrt(np.asarray(steps))[None] * rate[:, None]


def demo_claims() -> list[ClaimsFile]:
    claim = {
        "statement": "Without drift, discounting costs regret: no discount beats every discounted filter.",
        "source": "Section 5.1, Figure 2",
        "reported": "not recovered",
        "metric": "regret",
        "direction": "lower",
        "tasks": ["static"],
        "estimand": {"kind": "advantage", "of": "ts/none", "against": ["ts/exp-0.99", "ts/exp-0.999"]},
        "relation": {"kind": "greater", "than": 0.0},
        "unit": "regret",
        "scales": ["laptop", "paper"],
        "regular": "made-up normal noise",
    }
    against_none = {"kind": "advantage", "of": "ts/exp-0.99", "against": ["ts/none"]}
    shift = {"kind": "shift_of_best", "family": ["ts/exp-0.99", "ts/exp-0.999"], "attribute": "rate"}
    dynts = {
        "paper": {
            "id": "dynts",
            "title": "Thompson Sampling in Dynamic Systems for Contextual Bandit Problems",
            "authors": "Tianbing Xu, Yaming Yu, John Turner, Amelia Regan",
            "year": 2013,
            "url": "https://arxiv.org/abs/1310.5008",
            "method": "A click model whose weights drift is tracked with Laplace's approximation of the posterior. "
            "Old observations are discounted, which keeps the posterior from closing; arms are drawn by Thompson "
            "sampling, so exploration goes on as fast as the world changes.",
            "claim": "Discounting helps where the world moves.",
            "equations": [{"tex": "R_t = \\Sigma_{t-1} / \\gamma \\le 1", "says": "The discount."}],
            "differences": [
                "The paper's own tables could not be recovered; claims are those of its abstract and first page.",
                "The advertisement log is closed, so the worlds are simulated.",
            ],
        },
        "claims": [
            {"id": "static_no_discount", **claim},
            {
                "id": "drift_discount",
                **claim,
                "statement": "In a drifting world, discounting lowers the regret of the undiscounted filter.",
                "tasks": ["drift"],
                "estimand": against_none,
            },
            {
                "id": "discount_beats_ucb",
                **claim,
                "statement": "Thompson sampling beats upper confidence bounds on the same filter, in every world.",
                "tasks": ["static", "drift", "reset"],
                "estimand": {"kind": "relative_advantage", "of": "ts/none", "against": "ucb", "aggregate": "iqm"},
                "reported": "12 % less regret",
                "unit": "",
            },
            {
                "id": "shift",
                **claim,
                "statement": "The faster the drift, the faster the best filter forgets.",
                "tasks": ["drift", "static"],
                "estimand": shift,
                "unit": "decades",
                "source": "Ours (a check)",
            },
            {
                "id": "close_call",
                **claim,
                "statement": "After resets the two discounts end two thirds apart.",
                "tasks": ["reset"],
                "estimand": {"kind": "ratio", "of": "ts/exp-0.999", "against": "ts/none"},
                "relation": {"kind": "within", "center": 0.65, "tolerance": 0.03},
                "unit": "",
            },
            {"id": "hostile", **claim, "statement": HOSTILE, "source": "<b>Table 1</b> & more", "scales": ["paper"]},
        ],
    }
    vrda = {
        "paper": {
            **dynts["paper"],
            "equations": [],
            "id": "vrda",
            "title": "Online Classification Using a Voted RDA Method",
            "authors": "Tianbing Xu, Jianfeng Gao, Lin Xiao, Amelia Regan",
            "method": "Regularised dual averaging that updates on mistakes only, and lets its iterates vote.",
        },
        "claims": [{"id": "sparser", **claim, "statement": "Voting costs no accuracy.", "tasks": ["a9a"]}],
    }
    return [validate(ClaimsFile, data, "demo") for data in (dynts, vrda)]


def write_demo(folder: Path) -> Path:
    """Claims files, run folders and merged results of the demo below `folder`; returns the results folder."""
    for file in demo_claims():
        text = yaml.safe_dump(file.model_dump(mode="json"), sort_keys=False)
        (folder / "claims").mkdir(parents=True, exist_ok=True)
        (folder / "claims" / f"{file.paper.id}.yaml").write_text(text)
    methods = {method: {"rate": 1 - float(method[7:]) if method.startswith("ts/exp") else 1e-5} for method in RATES}
    steps = tuple(range(0, 5001, 125))
    runs = [
        write_run(
            folder / "runs" / task,
            build_card(
                f"{place:x}5c0ffee{place:04x}",
                task=task,
                methods=methods,
                seeds=list(range(10)),
                config={"method": {"name": "all"}, "task": {"name": task}},
            ),
            demo_value,
            steps=steps,
        )
        for place, task in enumerate(DRIFT)
    ]
    merge.evaluate("dynts", "laptop", runs, folder / "results" / "laptop" / "dynts")
    return folder / "results" / "laptop"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of the demo, `results/laptop`; the claims lie in `../../claims`."""
    return write_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def claims_files(demo: Path) -> list[Path]:
    """The claims files of the demo."""
    return sorted((demo.parents[1] / "claims").iterdir())


@pytest.fixture(scope="session")
def judged(demo: Path, claims_files: list[Path]) -> Path:
    """The results folder of the demo, with its verdicts."""
    judge(Judge(results=demo, claims=claims_files), demo)
    return demo


@contextmanager
def demo_modules() -> Iterator[None]:
    """Within, `septet.report.papers.dynts` is the demo's module."""
    name = "septet.report.papers.dynts"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(papers, "__path__", [str(Path(__file__).parent / "papers")])
        patch.delitem(sys.modules, name, raising=False)
        yield
        sys.modules.pop(name, None)


@pytest.fixture
def demo_papers() -> Iterator[None]:
    """The demo's module of figures, for one test."""
    with demo_modules():
        yield


@pytest.fixture(scope="session")
def drawn(demo: Path) -> Path:
    """The figures of the demo."""
    folder = demo / "figures" / "dynts"
    with demo_modules():
        draw(demo, folder, "dynts")
    return folder


@pytest.fixture(scope="session")
def make_card():
    """`make_card(id, **changes)` gives a run card."""
    return build_card


@pytest.fixture(scope="session")
def make_run():
    """`make_run(folder, card, value, steps=..., metric=...)` writes a run folder."""
    return write_run


@pytest.fixture(scope="session")
def make_times():
    """`make_times(card, {phase: seconds of each iteration})` gives rows of the timing table."""
    return times
