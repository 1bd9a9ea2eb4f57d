"""Experience collection: batched MuJoCo environments and parallel samplers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from septet.arrays import fit
from septet.sampler import classic, runners, walkers
from septet.sampler import reacher_pendulums as balance
from septet.sampler.batch import CompiledBatch, EnvironmentBatch, Step
from septet.sampler.task import Task

__version__ = "0.1.0"
__all__ = ["TASKS", "EnvironmentBatch", "Step", "make"]

TASKS: dict[str, Callable[[str, Mapping[str, Any]], Task]] = {
    "HalfCheetah-v5": runners.task,
    "Hopper-v5": runners.task,
    "Walker2d-v5": runners.task,
    "Swimmer-v5": runners.task,
    "Ant-v5": walkers.ant,
    "Humanoid-v5": walkers.humanoid,
    "Reacher-v5": balance.reacher,
    "InvertedPendulum-v5": balance.inverted_pendulum,
    "InvertedDoublePendulum-v5": balance.inverted_double_pendulum,
    "Pendulum-v1": classic.pendulum,
    "SlowPendulum": classic.pendulum,
    "ContinuousCartPole": classic.cart_pole,
}


def make(
    task: str,
    *,
    seeds: Sequence[int],
    environments: int,
    root: int = 0,
    threads: int = 1,
    members: tuple[int, int] | None = None,
    **options: Any,
) -> EnvironmentBatch:
    """Make a batch of environments.

    Args:
        task: a name of `TASKS`, or any id that Gymnasium knows (stepped one after the other, slower).
        seeds: the S seeds.
        environments: environments per seed, B.
        root: root seed of the run.
        threads: threads that step the environments.
        members: first environment and one past the last of the S * B, to make a part of them.
        options: settings of the task, named as in Gymnasium, and ``time_limit``.

    Raises:
        InputError: an unknown task or option, an environment that cannot be made, or a size that is not positive.
    """
    fit(f"{task}: threads", "int 1", threads)
    if task in TASKS:
        made = TASKS[task](task, options)
        return CompiledBatch(made, seeds, environments, root=root, threads=threads, members=members)
    from septet.sampler.gymnasium_batch import GymnasiumBatch  # importing Gymnasium takes half a second

    return GymnasiumBatch(task, seeds, environments, root=root, members=members, options=options, listing=list(TASKS))
