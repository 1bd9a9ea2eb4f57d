"""A sampler process: ``python -m walle.worker``, started by `walle.pool`.

It takes one message after another from its end of a pipe: which iteration to collect. Weights and experience
lie in shared memory. It ends when its parent's end of the pipe closes, however that comes about.
"""

import ctypes
import faulthandler
import os
import select
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection

from walle.collect import Collection, Collector
from walle.memory import experience, start_state
from walle.shared import Layout, SharedArrays

PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
LOOK_FOR_PARENT = 500  # milliseconds; its end of the pipe tells at once


@dataclass(frozen=True, kw_only=True)
class Start:
    """First message to a worker.

    Attributes:
        collection: what to collect; first, last: the environments of this worker; index: its number.
        layout: of the shared memory.
        iteration: from whose start-of-iteration state to go on; fresh: there is none yet, reset.
        patience: seconds to wait for the lock.
        bound: whether to be killed with the thread that started it (which must outlive the pool).
    """

    collection: Collection
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


class Worker:
    """One sampler: a slice of the environments, its own copy of the weights, its columns of the experience."""

    def __init__(self, start: Start, shared: SharedArrays) -> None:
        self.start, self.shared = start, shared
        self.rows = slice(start.first, start.last)
        self.collector = Collector(start.collection, first=start.first, last=start.last)
        if start.fresh:
            self.collector.reset()
            self.save(start.iteration)
        else:
            self.collector.state = start_state(shared, start.iteration, self.rows)

    def serve(self, connection: Connection) -> None:
        """Answer "collect" messages until the pipe closes."""
        connection.send(("ready",))
        while True:
            iteration, given = connection.recv()
            steps = self.collect(iteration, given)
            self.save(iteration + 1)
            connection.send(("done", iteration, steps))

    def collect(self, iteration: int, given: bool) -> int:
        """Collect an iteration with the newest weights; returns its steps."""
        shared, beats, index = self.shared, self.shared["beat"], self.start.index
        with shared.locked(self.start.patience):
            weights, mean, scale = (shared[name].copy() for name in ("weights", "mean", "scale"))
            version = int(shared["version"][0])
        out = experience(shared, iteration, self.rows)

        def beat(step: int) -> None:
            beats[index] += 1

        noise = shared["noise"][:, self.rows] if given else None
        steps = self.collector.fill(out, weights, mean, scale, iteration, noise, beat)
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
