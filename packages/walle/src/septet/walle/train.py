"""The `train` verb of the paper: the loop of `septet.rl.train` around its method, or several pools of it in turn."""

from contextlib import ExitStack, closing
from pathlib import Path

import polars as pl
import torch

from septet.history import History
from septet.rl.train import LIBRARIES, score_tables, train_with
from septet.rl.train import PACKAGES as BELOW
from septet.run import Run
from septet.walle.config import Alternating, Job
from septet.walle.ppo_kl import PPOKLLearner

PACKAGES = [*BELOW, "septet.walle"]


def train(job: Job, out: Path) -> None:
    """Train on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    if isinstance(job.method, Alternating):
        alternate(job, job.method, out)
    else:
        train_with(PPOKLLearner, job, out, PACKAGES)


def alternate(job: Job, method: Alternating, out: Path) -> None:
    """The training of each pool, an iteration of each in turn; the pool that begins changes with every round."""
    torch.set_num_threads(1)
    names = method.labels()
    with Run(
        out, job, paper=job.paper, method=method.label, task=job.task.label, seeds=job.seeds, packages=PACKAGES,
        libraries=LIBRARIES,
    ) as run:  # fmt: skip
        histories = [History(len(job.seeds)) for _ in names]
        with ExitStack() as stack:
            learners = [
                stack.enter_context(closing(PPOKLLearner(job.model_copy(update={"samplers": pool}))))
                for pool in method.pools
            ]
            for iteration in run.loop(learners[0].iterations, {"learners": learners, "histories": histories}):
                for place in range(len(names)):
                    turn = (iteration + place) % len(names)
                    found, history = learners[turn].iterate(iteration), histories[turn]
                    history.add(history.last_steps + found.steps, found.scores, found.seconds)

        # write, after the samplers have ended: the card counts their time
        plan = [learners[0].window * (k + 1) for k in range(learners[0].iterations)]
        settings = method.model_dump(mode="json", exclude={"name", "pools"})
        scores, times = [], []
        for name, history in zip(names, histories, strict=True):
            key = job.paper, name, job.task.label
            scores += score_tables(history, key, job.seeds, plan)
            times.append(history.timing_rows(*key, job.seeds, steps=plan))
        run.write(
            scores,
            methods={name: settings | {"samplers": pool} for name, pool in zip(names, method.pools, strict=True)},
            steps=sum(int(history.last_steps.sum()) for history in histories),
            timing=pl.concat(times),
        )
