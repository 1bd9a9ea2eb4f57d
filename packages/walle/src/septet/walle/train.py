"""The `train` verb of the paper: the loop of `septet.rl.train` around the paper's method."""

from pathlib import Path

from septet.rl import train as loop
from septet.walle.config import Job
from septet.walle.ppo_kl import PPOKLLearner


def train(job: Job, out: Path) -> None:
    """Train on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    loop.train(job, out, PPOKLLearner, [*loop.PACKAGES, "septet.walle"])
