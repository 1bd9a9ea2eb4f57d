"""The validation of the learner as a user asks for it: `make validate`, at scale smoke."""

import json

import polars as pl


def test_the_validation_runs_when_it_is_named_and_only_then(house):
    assert not {job for job in house.planned() if "rl" in job}
    config = ["--config", "scale=smoke", "papers=[rl]"]
    done = house.snakemake("--profile", "profiles/local", *config, "--", "rl")
    assert done.returncode == 0, done.stdout[-5000:]
    results = house.folder / "results/smoke"
    verdicts = json.loads((results / "rl/verdicts.json").read_text())
    assert {verdict["verdict"] for verdict in verdicts} == {"not judged at this scale"}
    assert (results / "figures/rl/learning_curves.png").stat().st_size > 10_000
    returns = pl.read_parquet(results / "rl/scores.parquet").filter(metric="return")
    assert returns["method"].unique().sort().to_list() == ["ppo", "ppo_sb3"]
    assert not (results / "dynts").exists()
