"""What lies in the memory that learner and samplers share: weights, experience, start-of-iteration states."""

from collections.abc import Mapping

from septet.sampler.collect import Collection
from septet.sampler.rollout import PER_ENVIRONMENT, Array, Arrays, layout
from septet.sampler.shared_memory import Layout, SharedArrays

EXPERIENCE, STATE = "experience.", "state."


def plan(collection: Collection, most_steps: int, state: Mapping[str, Array], processes: int, slots: int) -> Layout:
    """Layout of the shared memory.

    Args:
        collection: what is collected; most_steps: that an iteration can have.
        state: of a collector, whose rows are environments; empty if the environments cannot tell theirs.
        processes: samplers; slots: iterations whose experience is kept at a time.
    """
    policy, members, size = collection.policy, len(collection.seeds), collection.size
    sizes = (policy.observation_size, policy.action_size)
    experience = layout(most_steps, size, *sizes).items()
    return {
        "weights": ((members, policy.size), "f4"),
        "mean": ((members, policy.observation_size), "f8"),
        "scale": ((members, policy.observation_size), "f8"),
        "version": ((1,), "i8"),
        "beat": ((processes,), "i8"),  # steps that each sampler made, a sign of life
        **{EXPERIENCE + name: ((slots, *shape), kind) for name, (shape, kind) in experience},
        # one more: of iteration i, still unread, to that after i + slots - 1, already done
        **{STATE + name: ((slots + 1, size, *row.shape[1:]), row.dtype.str) for name, row in state.items()},
    }


def experience(shared: SharedArrays, iteration: int, rows: slice) -> Arrays:
    """Views of an iteration's rollout arrays, of some environments."""
    views = {}
    for name, array in shared.arrays.items():
        if name.startswith(EXPERIENCE):
            name, slot = name.removeprefix(EXPERIENCE), array[iteration % len(array)]
            views[name] = slot[rows] if name in PER_ENVIRONMENT else slot[:, rows]
    return views


def start_state(shared: SharedArrays, iteration: int, rows: slice) -> Arrays:
    """Views of the collectors' state at the start of an iteration, of some environments."""
    return {
        name.removeprefix(STATE): array[iteration % len(array), rows]
        for name, array in shared.arrays.items()
        if name.startswith(STATE)
    }
