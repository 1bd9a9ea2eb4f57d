"""How long a set of jobs that wait for each other takes on so many cores: list scheduling."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Task:
    """One job."""

    seconds: float
    """Of wall time, on as many cores as it has threads."""
    threads: int
    waits_for: tuple[int, ...]
    """Places in the list of the jobs that it waits for."""
    divided: int = 1
    """Threads that share its work, as those of samplers that wait for each other do not."""


def tails(tasks: Sequence[Task]) -> list[float]:
    """For each job the longest chain of seconds from its start to the end of the run.

    Jobs stand after those that they wait for.
    """
    longest = [task.seconds for task in tasks]
    for place in range(len(tasks) - 1, -1, -1):
        for before in tasks[place].waits_for:
            longest[before] = max(longest[before], tasks[before].seconds + longest[place])
    return longest


def longest_path(tasks: Sequence[Task]) -> float:
    """Seconds of the longest chain of jobs, which no number of cores shortens."""
    return max(tails(tasks), default=0.0)


def makespan(tasks: Sequence[Task], cores: int) -> float:
    """Seconds from the first start to the last end when a free core takes the ready job with the longest chain ahead.

    A job with more threads than there are cores takes all of them, and longer if they share its work. Graham (1969): at
    most twice the best schedule for jobs of one thread.
    """
    tasks = [replace(task, seconds=task.seconds * max(1.0, task.divided / cores)) for task in tasks]
    ahead = tails(tasks)
    missing = [len(set(task.waits_for)) for task in tasks]
    after: list[list[int]] = [[] for _ in tasks]
    for place, task in enumerate(tasks):
        for before in set(task.waits_for):
            after[before].append(place)
    ready = [(-ahead[place], place) for place, count in enumerate(missing) if count == 0]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    free, now = cores, 0.0
    while ready or running:
        waiting = []
        while ready:
            _, place = entry = heapq.heappop(ready)
            need = min(tasks[place].threads, cores)
            if need > free:
                waiting.append(entry)
                continue
            free -= need
            heapq.heappush(running, (now + tasks[place].seconds, place))
        for entry in waiting:
            heapq.heappush(ready, entry)
        now, place = heapq.heappop(running)
        free += min(tasks[place].threads, cores)
        for later in after[place]:
            missing[later] -= 1
            if missing[later] == 0:
                heapq.heappush(ready, (-ahead[later], later))
    return now
