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
        histories = {name: History(len(job.seeds)) for name in names}
        with ExitStack() as stack:
            learners = {
                name: stack.enter_context(closing(PPOKLLearner(job.model_copy(update={"samplers": pool}))))
                for name, pool in zip(names, method.pools, strict=True)
            }
            first = learners[names[0]]
            for iteration in run.loop(first.iterations, {"learners": learners, "histories": histories}):
                begin = iteration % len(names)
                for name in names[begin:] + names[:begin]:
                    found, history = learners[name].iterate(iteration), histories[name]
                    history.add(history.last_steps + found.steps, found.scores, found.seconds)

        # write, after the samplers have ended: the card counts their time
        plan = [first.window * (k + 1) for k in range(first.iterations)]
        settings = method.model_dump(mode="json", exclude={"name", "pools"})
        keys = {name: (job.paper, name, job.task.label) for name in names}
        run.write(
            [frame for name in names for frame in score_tables(histories[name], keys[name], job.seeds, plan)],
            methods={name: settings | {"samplers": pool} for name, pool in zip(names, method.pools, strict=True)},
            steps=sum(int(history.last_steps.sum()) for history in histories.values()),
            timing=pl.concat([histories[name].timing_rows(*keys[name], job.seeds, steps=plan) for name in names]),
        )
