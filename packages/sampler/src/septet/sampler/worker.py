"""A sampler process: ``python -m septet.sampler.worker``, started by `septet.sampler.processes`.

It takes one message after another from its end of a pipe: which iteration to collect. Weights and experience
lie in shared memory. It ends when its parent's end of the pipe closes, however that comes about.
"""

import contextlib
import copy
import ctypes
import faulthandler
import os
import pickle
import select
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from septet import sampler
from septet.errors import InputError
from septet.sampler.buffers import experience, start_state
from septet.sampler.collect import Collection, Collector
from septet.sampler.shared_memory import Layout, SharedArrays

PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
LOOK_FOR_PARENT = 500  # milliseconds; its end of the pipe tells at once


@dataclass(frozen=True, kw_only=True)
class Start:
    """First message to a worker.

    Attributes:
        environment: the collection and what makes its environments, by `pickled`; path: where modules are found.
        first, last: the environments of this worker; index: its number.
        layout: of the shared memory.
        iteration: from whose start-of-iteration state to go on; fresh: there is none yet, reset.
        patience: seconds to wait for the lock.
        bound: whether to be killed with the thread that started it (which must outlive the pool).
    """

    environment: bytes
    path: list[str]
    first: int
    last: int
    index: int
    layout: Layout
    iteration: int
    fresh: bool
    patience: float
    bound: bool


def main(pipe: int, memory: int, parent: int) -> None:
    """Collect until the pipe closes; a failure is sent as text, and ends the process."""
    faulthandler.enable()
    connection = Connection(pipe)
    threading.Thread(target=watch, args=(pipe, parent), daemon=True).start()
    try:
        start: Start = connection.recv()
        if start.bound and sys.platform == "linux":
            ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        Worker(start, SharedArrays(start.layout, memory)).serve(connection)
    except (EOFError, ConnectionError):
        return  # the parent closed the pipe
    except Exception:
        connection.send(("failed", traceback.format_exc()))
        sys.exit(1)


def watch(pipe: int, parent: int) -> None:
    """End the process, also in the middle of an iteration, when its parent does."""
    poll = select.poll()
    poll.register(pipe, 0)  # hang-up is told without being asked for
    while not poll.poll(LOOK_FOR_PARENT) and os.getppid() == parent:
        pass
    os._exit(0)


def search_path() -> list[str]:
    """Where this process finds modules, for one that may work in another folder."""
    found = []
    for entry in sys.path:
        with contextlib.suppress(FileNotFoundError):  # the folder itself may be gone
            found.append(str(Path(entry).absolute()))  # "" is the folder that a notebook or ``-c`` runs in
    return found


def pickled(collection: Collection) -> bytes:
    """A collection with what makes its environments: they may be known to this process alone.

    Raises:
        InputError: something that cannot be sent to another process.
    """
    import cloudpickle  # type: ignore[import-untyped]  # takes classes of a notebook or script along

    spec: Any = None
    name = collection.task.rpartition(":")[2]
    if collection.task not in sampler.TASKS:
        from gymnasium.envs.registration import load_env_creator, registry

        spec = copy.copy(registry.get(name))
        if spec is not None and isinstance(spec.entry_point, str) and spec.entry_point.startswith("__main__:"):
            spec.entry_point = load_env_creator(spec.entry_point)  # of this process, not of the sampler's
    try:
        return cloudpickle.dumps((collection, sampler.TASKS.get(collection.task), name, spec))
    except Exception as error:
        expected = "an object that can be sent to sampler processes (define its class in a module, or set processes: 0)"
        raise InputError(collection.task, expected=expected, found=f"{type(error).__name__}: {error}") from error


def unpickled(environment: bytes) -> Collection:
    """The collection of `pickled`, after its environments are made known here."""
    collection, maker, name, spec = pickle.loads(environment)
    if maker is not None:
        sampler.TASKS.setdefault(collection.task, maker)
    if spec is not None:
        from gymnasium.envs.registration import registry

        registry[name] = spec
    return collection


class Worker:
    """One sampler: a slice of the environments, its own copy of the weights, its columns of the experience."""

    def __init__(self, start: Start, shared: SharedArrays) -> None:
        self.start, self.shared = start, shared
        self.rows = slice(start.first, start.last)
        sys.path[:] = start.path
        self.collector = Collector(unpickled(start.environment), first=start.first, last=start.last)
        if start.fresh:
            self.collector.reset()
            self.save(start.iteration)
        else:
            self.collector.state = start_state(shared, start.iteration, self.rows)

    def serve(self, connection: Connection) -> None:
        """Answer "collect" messages until the pipe closes."""
        connection.send(("ready",))
        while True:
            iteration = connection.recv()
            steps = self.collect(iteration)
            self.save(iteration + 1)
            connection.send(("done", iteration, steps))

    def collect(self, iteration: int) -> int:
        """Collect an iteration with the newest weights; returns its steps."""
        shared, index = self.shared, self.start.index
        with shared.locked(self.start.patience):
            weights, mean, scale = (shared[name].copy() for name in ("weights", "mean", "scale"))
            version = int(shared["version"][0])
        out = experience(shared, iteration, self.rows)
        steps = self.collector.fill(out, weights, mean, scale, iteration, beat=shared["beat"][index : index + 1])
        out["version"][:] = version
        return steps

    def save(self, iteration: int) -> None:
        """Keep the state at the start of an iteration, from which it can be redone."""
        kept = start_state(self.shared, iteration, self.rows)
        if kept:
            for name, value in self.collector.state.items():
                kept[name][:] = value


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
