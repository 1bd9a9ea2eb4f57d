"""The `train` verb of the paper: the loop of `septet.rl.train` around the paper's method."""

from pathlib import Path

from septet.rl.train import PACKAGES, train_with
from septet.walle.config import Job
from septet.walle.ppo_kl import PPOKLLearner


def train(job: Job, out: Path) -> None:
    """Train on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    train_with(PPOKLLearner, job, out, [*PACKAGES, "septet.walle"])
