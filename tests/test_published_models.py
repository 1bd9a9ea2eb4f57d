"""The models in published/: chosen from the runs, rounded, used like those of a job, filmed, and shown on the page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from septet.dynts.config import Experiments
from septet.dynts.config import Job as Filters
from septet.dynts.models import load_agent
from septet.dynts.train import train as train_filters
from septet.model_files import read_model
from septet.report import merge, published, published_models
from septet.report.films import films_of
from septet.report.published_models import LIMIT, models_of, rounded, size_of_models, write_models
from septet.report.source import read_manifest
from septet.rl.config import Job
from septet.rl.models import load_model
from septet.rl.train import train
from septet.sealed import read_sealed_json, verify, write_json
from septet.vrda.config import Job as Lists
from septet.vrda.config import Method, Preparation, Task
from septet.vrda.predictors import load_predictor
from septet.vrda.prepare import prepare
from septet.vrda.train import train as train_lists

ROOT = Path(__file__).parents[1]


def septet(*arguments, **variables):
    command = [sys.executable, "-m", "septet.rl", *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)


def job(**settings):
    given = {"algorithm": "ppo", "steps": 64, "normalise_observations": True}
    return Job.model_validate({"method": given, "seeds": [3, 5, 8], "steps": 256, **settings})


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Policies of two tasks: one that MuJoCo renders, one that is drawn."""
    folder = tmp_path_factory.mktemp("results")
    train(job(task={"environment": "InvertedPendulum-v5"}), folder / "rl/runs/ppo/balance")
    train(job(task={"environment": "ContinuousCartPole"}), folder / "rl/runs/ppo/cart")
    merge.evaluate("rl", "smoke", sorted((folder / "rl/runs").glob("*/*")), folder / "rl")
    return folder


@pytest.fixture(scope="module")
def public(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("published")
    assert published.publish(results, ["rl"], out / "smoke") == []
    return out


def test_the_best_policy_is_published_rounded_and_acts_like_the_job_s(results, public):
    own, found = load_model(results / "rl/runs/ppo/balance"), load_model(public / "smoke/rl/models/ppo/balance")
    row = int(np.argmax(own.card.kinds["best"].scores))
    assert list(found.policies) == ["best"] and found.card.rounded == "float16" and own.card.rounded is None
    assert (found.card.seeds, found.card.run) == ([own.card.seeds[row]], own.card.run)
    assert found.card.kinds["best"].scores == [own.card.kinds["best"].scores[row]]
    best, small = own.policies["best"], found.policies["best"]
    assert small.weights.dtype == np.float32
    np.testing.assert_array_equal(small.weights[0], best.weights[row].astype(np.float16).astype(np.float32))
    for name in ("mean", "scale"):
        np.testing.assert_array_equal(getattr(small, name)[0], getattr(best, name)[row])
    seen = np.random.default_rng(0).normal(size=(1, 20, 4))
    np.testing.assert_allclose(small.act(seen), best.rows([row]).act(seen), atol=5e-3)


def test_the_verbs_use_a_published_model(public):
    model = public / "smoke/rl/models/ppo/balance"
    done = septet("evaluate", model, "--episodes", 2)
    assert done.returncode == 0, done.stderr
    score = load_model(model).card.kinds["best"].scores[0]
    assert f"weights rounded to float16; return in its run, before that: {score:.5g}\n" in done.stdout
    assert ": mean return " in done.stdout


def test_the_manifest_has_the_models_of_the_published_runs_alone(results, public, tmp_path):
    files = read_manifest(public / "smoke/manifest.json").files
    models = sorted(f"rl/models/ppo/{task}/{file}" for task in ("balance", "cart")
                    for file in ("card.json", "policies.safetensors"))  # fmt: skip
    assert [name for name in sorted(files) if "/models/" in name] == models
    for name in models:
        verify(public / "smoke" / name, "a published file")
    assert models_of(results, "rl", {"another run"}) == ([], [])
    published.publish(results, ["rl"], tmp_path / "smoke")
    copy = tmp_path / "results"
    (copy / "rl").mkdir(parents=True)
    for name in ("runs.json", "scores.parquet", "timing.parquet"):
        (copy / "rl" / name).write_bytes((results / "rl" / name).read_bytes())
    published.publish(copy, ["rl"], tmp_path / "smoke")  # the same runs, whose models were not brought along
    assert models == [name for name in sorted(read_manifest(tmp_path / "smoke/manifest.json").files) if name in models]
    another = tmp_path / "another"
    train(job(task={"environment": "ContinuousCartPole"}, steps=128), another / "rl/runs/ppo/cart")
    merge.evaluate("rl", "smoke", [another / "rl/runs/ppo/cart"], another / "rl")
    (another / "rl/runs/ppo/cart/model/card.json").unlink()
    published.publish(another, ["rl"], tmp_path / "smoke")  # another run, which has no models
    assert not (tmp_path / "smoke/rl/models").exists()
    assert not any("/models/" in name for name in read_manifest(tmp_path / "smoke/manifest.json").files)


def test_a_model_that_is_too_large_is_left_out(results, tmp_path, monkeypatch, capsys):
    from septet.ops.__main__ import Publish, publish

    monkeypatch.setattr(published_models, "LARGEST", 1000)
    publish(Publish(results=results, benchmarks=tmp_path), tmp_path / "smoke")
    assert "rl/ppo/cart: model left out: too large\n" in capsys.readouterr().err
    assert not (tmp_path / "smoke/rl/models").exists()


def test_what_float16_cannot_hold_stays_as_it_is():
    assert rounded(np.array([1e5, 1.0], np.float32)).dtype == np.float32
    assert rounded(np.array([1.0, 1 / 3], np.float32)).tolist() == [1.0, float(np.float16(1 / 3))]


def test_a_filter_and_a_predictor_are_loaded_from_published(tmp_path, monkeypatch):
    known = Experiments()
    schedules = ["none", "exp-0.99", "exp-0.9"]
    wanted = Filters(
        method=known.methods["ts"].model_copy(update={"name": "ts", "schedules": schedules}),
        task=known.tasks["tau200"].model_copy(update={"name": "tau200"}), seeds=[1, 2], horizon=200, points=10,
    )  # fmt: skip
    train_filters(wanted, tmp_path / "dynts/runs/ts/tau200")
    prepare(
        Preparation(task=Task(name="t", train_lists=80, test_lists=40, least=2), data_source="generated"),
        tmp_path / "lists",
    )
    lists = Lists(
        method=Method(name="m", l1=[0.0, 0.01]), task=Task(name="t", train_lists=80, test_lists=40), seeds=[0],
        data_file=str(tmp_path / "lists/lists.safetensors"), epochs=2, reads=[1, 2],
    )  # fmt: skip
    train_lists(lists, tmp_path / "vrda/runs/m/t")
    for paper, place in (("dynts", "ts/tau200"), ("vrda", "m/t")):
        run = json.loads((tmp_path / paper / "runs" / place / "run.json").read_text())["id"]
        models, large = models_of(tmp_path, paper, {run})
        assert not large and len(write_models(models, tmp_path / "published" / paper)) == 2
    own, _ = read_model(tmp_path / "dynts/runs/ts/tau200", "dynts")
    card, _ = read_model(tmp_path / "published/dynts/models/ts/tau200", "dynts")
    regret = np.mean(own["scores"]["regret"], axis=1)
    label = f"ts/{schedules[int(np.argmin(regret))]}"
    assert list(card["agents"]) == list(card["settings"]) == [label]
    agents = [load_agent(tmp_path / path, label, 1)
              for path in ("dynts/runs/ts/tau200", "published/dynts/models/ts/tau200")]  # fmt: skip
    np.testing.assert_array_equal(agents[0].mu, agents[1].mu)
    np.testing.assert_array_equal(agents[0].sigma, agents[1].sigma)
    card, _ = read_model(tmp_path / "published/vrda/models/m/t", "vrda")
    before, _ = read_model(tmp_path / "vrda/runs/m/t", "vrda")
    assert card["f"] == [max(before["f"])] and card["rounded"] == "float16"
    (label,) = card["labels"]
    f = dict(zip(before["labels"], before["f"], strict=True))
    nonzeros = {name: np.count_nonzero(load_predictor(tmp_path / "vrda/runs/m/t", name)[0]) for name in f}
    sparsest = min(nonzeros, key=nonzeros.__getitem__)
    assert nonzeros[sparsest] < nonzeros[label] and f[sparsest] < f[label]
    monkeypatch.setattr(published_models, "SPARSE", 6 * (nonzeros[sparsest] + 1))  # room for this one alone
    run = json.loads((tmp_path / "vrda/runs/m/t/run.json").read_text())["id"]
    ((model,), large) = models_of(tmp_path, "vrda", {run})
    assert model.card["labels"] == [sparsest] and not large
    monkeypatch.setattr(published_models, "SPARSE", 5)
    assert models_of(tmp_path, "vrda", {run}) == ([], ["m/t"])
    exact, small = (load_predictor(tmp_path / path, label)[0]
                    for path in ("vrda/runs/m/t", "published/vrda/models/m/t"))  # fmt: skip
    np.testing.assert_allclose(small, exact, rtol=1e-3, atol=1e-7)


def test_videos_of_published_policies_and_their_place_on_the_page(results, public, tmp_path):
    """What a renderer draws is looked at; without one, a line says what is missing, and other tasks are drawn."""
    given = ["videos", public, "--steps", 30, "--out"]
    none = septet(*given, tmp_path / "drawn", MUJOCO_GL="nothing")
    assert none.returncode == 0, none.stderr
    assert none.stderr.startswith("rl/balance: no video: watch: renderer: expected EGL or OSMesa (Debian: ")
    assert none.stderr.count("\n") == 1
    assert sorted(path.name for path in (tmp_path / "drawn/rl").iterdir()) == ["cart.gif", "cart.jpg", "cart.json"]
    empty = septet("videos", tmp_path, "--out", tmp_path / "videos")
    assert empty.returncode == 2 and "expected published policies (make publish), found none" in empty.stderr
    done = septet(*given, tmp_path / "videos")
    assert done.returncode == 0, done.stderr
    rendered = "rl/balance: no video" not in done.stderr
    folder = tmp_path / "videos/rl"
    for task in ("balance", "cart") if rendered else ("cart",):
        with Image.open(folder / f"{task}.jpg") as opened:
            frames = np.split(np.asarray(opened, float), 4, axis=1)
        assert frames[0].shape == (120, 160, 3)
        assert all(frame.std() > 5 for frame in frames) and np.abs(frames[0] - frames[-1]).max() > 50
        with Image.open(folder / f"{task}.gif") as opened:
            assert opened.size == (320, 240) and opened.n_frames >= 2
    run = json.loads((results / "rl/runs/ppo/cart/run.json").read_text())["id"]
    (film,) = films_of(tmp_path, "rl", {run})
    assert (film.task, film.card.method, film.card.width) == ("cart", "ppo", 640)


def test_a_film_shows_the_named_method_at_the_largest_scale(public, tmp_path):
    from septet.rl.videos import chosen, published_models

    found = published_models(public)
    assert found == published_models(public / "smoke") and sorted(found) == [("rl", "balance"), ("rl", "cart")]
    source = public / "smoke/rl/models/ppo/cart"
    for scale, method, score in (("laptop", "a", 5.0), ("laptop", "b", 2.0), ("smoke", "c", 9.0)):
        place = tmp_path / scale / "rl/models" / method / "cart"
        place.mkdir(parents=True)
        (place / "policies.safetensors").write_bytes((source / "policies.safetensors").read_bytes())
        card = read_sealed_json(source / "card.json", "a card")
        card["kinds"]["best"]["scores"] = [score]
        write_json(place / "card.json", {**card, "methods": [method]})
    paths = published_models(tmp_path)["rl", "cart"]
    assert [path.parent.name for path in paths] == ["a", "b"]
    shown = {names: chosen(paths, names)[0].card.methods for names in ((), ("c", "b"), ("c",))}
    assert shown == {(): ["a"], ("c", "b"): ["b"], ("c",): ["a"]}


def test_the_project_publishes_3_mb_of_models_at_most():
    assert size_of_models(ROOT / "published") <= LIMIT <= 3_000_000


def test_all_published_models_are_counted(public):
    files = [path for path in public.rglob("*") if path.is_file() and "models" in path.parts]
    assert size_of_models(public) == sum(path.stat().st_size for path in files) > 5_000
