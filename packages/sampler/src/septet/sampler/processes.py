"""A pool of sampler processes: starting, feeding, watching and, once, restarting them.

The samplers are fresh interpreters, not `multiprocessing` ones, which would import the caller's main module
(and its tensor library) first. Each has a pipe for small messages; experience, weights and the environments'
start-of-iteration state lie in shared memory. A sampler that dies is started anew from that state.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection, Pipe, wait

from septet.errors import InputError, NoState
from septet.sampler.batch import check_state
from septet.sampler.buffers import experience, plan, start_state
from septet.sampler.collect import Collection, Collector
from septet.sampler.rollout import Array, Arrays, Rollout, assemble
from septet.sampler.shared_memory import SharedArrays
from septet.sampler.worker import Start, pickled, search_path

# A sampler ends with its pipe, not by the signals that the learner answers with a checkpoint.
LEARNERS_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
MATH_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
NO_WINDOW = {"MUJOCO_GL": "disable"}  # its libraries take a tenth of the start; an outer setting stays
LOOK = 1.0  # seconds between looks at processes that say nothing
TIME_TO_START = 120.0  # seconds, compiling included; `patience` if that is longer
TIME_TO_END = 2.0  # seconds


class SamplerDied(RuntimeError):
    """A sampler failed twice in the same iteration; the learner's state is whole and can be saved."""


@dataclass
class SamplerProcess:
    """A sampler process as the learner sees it.

    Attributes:
        index: its number; first, last: its environments.
        process, connection: once it is launched.
        begun: the process was told what to do; ready: it has its environments.
        kept: the state at the start of its iteration is in shared memory.
        done: iterations that it has finished; steps: of those not yet read.
        failed: the iteration in which it died last.
        heard, beat: when it last gave a sign of life, and which.
    """

    index: int
    first: int
    last: int
    process: subprocess.Popen[bytes] = field(init=False)
    connection: Connection = field(init=False)
    begun: bool = False
    ready: bool = False
    kept: bool = False
    done: int = 0
    steps: dict[int, int] = field(default_factory=dict)
    failed: int = -1
    heard: float = 0.0
    beat: int = -1


class SamplerPool:
    """N sampler processes that collect iterations into `slots` places in shared memory.

    Args:
        collection: what to collect.
        processes: N, at most as many as environments.
        slots: iterations that samplers may be ahead of the learner's last `collect`, at least one.
        patience: seconds without any sign of life after which a sampler counts as dead.

    Raises:
        InputError: a value out of range, or a policy whose sizes are not the task's.
    """

    def __init__(self, collection: Collection, processes: int, slots: int, patience: float) -> None:
        if not 1 <= processes <= collection.size:
            expected = f"at most one per environment, {collection.size}"
            raise InputError("samplers: processes", expected=expected, found=processes)
        self.collection, self.patience, self.slots = collection, patience, slots
        probe = Collector(collection, first=0, last=1)
        probe.reset()
        try:
            state = probe.state
        except InputError:  # one of Gymnasium's own environments, without a time limit
            state = {}
        probe.batch.close()
        self.action_bounds = probe.low, probe.high
        self.shared = SharedArrays(plan(collection, probe.most_steps, state, processes, slots))
        self.iteration = 0  # to be collected next
        self.granted = 0  # iterations that samplers may begin
        self.recoverable = bool(state)
        self.gone: str | None = None  # why nothing can be collected any more
        self.closed = False
        cuts = [collection.size * k // processes for k in range(processes + 1)]
        self._environment = pickled(collection)
        self._process = os.getpid()
        self.samplers: list[SamplerProcess] = []
        try:
            for k, (first, last) in enumerate(pairwise(cuts)):
                self._launch(sampler := SamplerProcess(k, first, last))
                self.samplers.append(sampler)
        except BaseException:
            self.close()
            raise

    def broadcast(self, weights: Array, mean: Array, scale: Array, version: int) -> None:
        """Put new weights where samplers find them at the start of an iteration.

        Raises:
            SamplerDied: a sampler was stopped just while it read the old ones.
        """
        self._need_open()
        try:
            with self.shared.locked(self.patience, exclusive=True):
                for name, array in (("weights", weights), ("mean", mean), ("scale", scale)):
                    self.shared[name][:] = array
                self.shared["version"][0] = version
        except TimeoutError as error:
            raise SamplerDied(f"broadcast: {error}") from None

    def collect(self, version: int) -> Rollout:
        """The next iteration's rollout, once every sampler has done its part.

        Raises:
            SamplerDied: a sampler died, was started anew, and died again.
        """
        self._need_open()
        while self.granted < self.iteration + self.slots:
            self.granted += 1
            for sampler in self.samplers:
                if sampler.begun:
                    self._send(sampler, self.granted - 1)
        self._begin_all()
        self._await(lambda sampler: sampler.done > self.iteration)
        steps = max(sampler.steps.pop(self.iteration) for sampler in self.samplers)
        rollout = assemble(experience(self.shared, self.iteration, slice(None)), steps, version)
        self.iteration += 1
        return rollout

    @property
    def state(self) -> Arrays:
        """State of all environments, in their order, at the start of the iteration to be collected next."""
        self._need_state()
        if not all(sampler.kept for sampler in self.samplers):
            self._begin_all()
            self._await(lambda sampler: sampler.kept)
        return {name: view.copy() for name, view in start_state(self.shared, self.iteration, slice(None)).items()}

    def restore(self, iteration: int, state: Mapping[str, Array]) -> None:
        """Go on from the start of an iteration; what samplers have done or are doing is dropped."""
        self._need_state()
        kept = start_state(self.shared, iteration, slice(None))
        check_state("samplers", kept, state)
        for sampler in self.samplers:
            if sampler.begun:
                self._end(sampler)
                self._launch(sampler)
        for name, view in kept.items():
            view[:] = state[name]
        self.iteration = self.granted = iteration
        self.gone = None
        for sampler in self.samplers:
            sampler.kept, sampler.done, sampler.failed, sampler.steps = True, iteration, -1, {}

    def close(self) -> None:
        """End the processes; at most a few seconds, whatever they are doing."""
        if self.closed:
            return
        self.closed = True
        for sampler in self.samplers:
            sampler.connection.close()  # they leave at once, also in the middle of an iteration
        until = time.monotonic() + TIME_TO_END
        mine = self.samplers if self._process == os.getpid() else []  # a forked child only lets go of its copies
        for sampler in mine:
            try:
                sampler.process.wait(max(until - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                self._end(sampler)
        self.shared.close()

    def _need_open(self) -> None:
        if self.closed:
            raise InputError("samplers", expected="open ones", found="closed ones")
        if self._process != os.getpid():
            expected = "the process that started them (start others after the fork)"
            raise InputError("samplers", expected=expected, found="a forked child of it")

    def _need_state(self) -> None:
        self._need_open()
        if not self.recoverable:
            what = "an environment whose state can be saved"
            raise NoState(f"{self.collection.task}: state", expected=what, found="one without")

    def _launch(self, sampler: SamplerProcess) -> None:
        """Start the interpreter, which imports while we go on."""
        ours, theirs = Pipe()
        descriptors = theirs.fileno(), self.shared.descriptor
        command = [sys.executable, "-P", "-m", "septet.sampler.worker", *map(str, (*descriptors, os.getpid()))]
        note = [self.collection.task, f"sampler {sampler.index}"]  # for those who look at the list of processes
        environment = {**NO_WINDOW, **os.environ, **dict.fromkeys(MATH_THREADS, "1")}
        environment["PYTHONPATH"] = os.pathsep.join(search_path())
        # A blocked signal stays blocked in the child: from its first instruction on it takes none of them.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, LEARNERS_SIGNALS)
        try:
            sampler.process = subprocess.Popen(
                [*command, *note], stdin=subprocess.DEVNULL, env=environment, pass_fds=descriptors
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        sampler.connection, sampler.begun, sampler.ready = ours, False, False

    def _begin_all(self) -> None:
        for sampler in self.samplers:
            if not sampler.begun:
                self._begin(sampler)

    def _begin(self, sampler: SamplerProcess) -> None:
        """Give a launched process its environments and the iterations it may do."""
        start = Start(
            environment=self._environment,
            path=search_path(),
            first=sampler.first,
            last=sampler.last,
            index=sampler.index,
            layout=self.shared.layout,
            iteration=sampler.done,
            fresh=not sampler.kept,
            patience=self.patience,
            bound=threading.current_thread() is threading.main_thread(),
        )
        sampler.begun, sampler.heard = True, time.monotonic()
        self._send(sampler, start)
        for iteration in range(sampler.done, self.granted):
            self._send(sampler, iteration)

    def _send(self, sampler: SamplerProcess, message: object) -> None:
        with contextlib.suppress(ConnectionError):  # it died: whoever waits for its answer will see
            sampler.connection.send(message)

    def _await(self, enough: Callable[[SamplerProcess], bool]) -> None:
        """Read what samplers say until each has said enough; those that die are started anew, once."""
        if self.gone is not None:
            raise SamplerDied(self.gone)
        while waiting := [sampler for sampler in self.samplers if not enough(sampler)]:
            spoke = wait([sampler.connection for sampler in waiting], LOOK)
            for sampler in waiting:
                if sampler.connection in spoke:
                    self._listen(sampler)
                elif not spoke:
                    self._look(sampler)

    def _listen(self, sampler: SamplerProcess) -> None:
        """Take one message."""
        try:
            kind, *what = sampler.connection.recv()
        except (EOFError, OSError):
            self._lost(sampler, "")
            return
        sampler.heard = time.monotonic()
        if kind == "ready":
            sampler.ready = sampler.kept = True
        elif kind == "done":
            iteration, steps = what
            sampler.done, sampler.steps[iteration] = iteration + 1, steps
        else:
            self._lost(sampler, what[0])

    def _look(self, sampler: SamplerProcess) -> None:
        """Is it still there, and does it get on?"""
        beat, now = int(self.shared["beat"][sampler.index]), time.monotonic()
        if beat != sampler.beat:
            sampler.beat, sampler.heard = beat, now
        if sampler.process.poll() is not None:
            self._lost(sampler, "")
        elif now - sampler.heard > (patience := self.patience if sampler.ready else max(self.patience, TIME_TO_START)):
            self._lost(sampler, f"no response for {patience:g} s")

    def _lost(self, sampler: SamplerProcess, why: str) -> None:
        """Start a dead sampler anew from the iteration that it did not finish, or give up on the second time."""
        code = self._end(sampler) if why else sampler.process.wait()
        if not why:
            why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        about = (
            f"sampler {sampler.index} (environments {sampler.first} to {sampler.last - 1}) of {self.collection.task}"
        )
        text = f"{about} died in iteration {sampler.done}: {why}"
        if sampler.failed == sampler.done:
            self.gone = f"{text.rstrip()}\nfor the second time"
        elif not self.recoverable:
            self.gone = f"{text.rstrip()}\nand {self.collection.task} has no saved state to restart from"
        if self.gone is not None:
            raise SamplerDied(self.gone)
        print(f"{text.rstrip()}\nrestarting it and repeating the iteration", file=sys.stderr, flush=True)
        sampler.failed = sampler.done
        self._launch(sampler)
        self._begin(sampler)

    def _end(self, sampler: SamplerProcess) -> int:
        """Kill a process and wait for its end."""
        sampler.connection.close()
        sampler.process.kill()
        return sampler.process.wait()
