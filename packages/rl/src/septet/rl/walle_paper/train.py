"""The `train` verb of the paper: learner's loop around the paper's method."""

from pathlib import Path

from septet.rl import train as loop
from septet.rl.walle_paper.config import Job
from septet.rl.walle_paper.ppo_kl import PPOKLLearner


def train(job: Job, out: Path) -> None:
    """Train on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    loop.train(job, out, PPOKLLearner)
