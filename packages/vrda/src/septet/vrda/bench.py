"""The `bench` verb: speed, memory, error and non-zeros beside Vowpal Wabbit, scikit-learn and river, in one run.

All learners get the same sparse rows. Time per pass is that of six passes less that of one, by
five: it leaves out reading, checking and writing for everybody. Each learner runs in a process of
its own, so that peak memory is its own. Settings are chosen on a development part, inside a grid for each learner;
errors are of a test part. Vowpal Wabbit reads and learns in two threads, so wall time is what it is good at; processor
time has its own rows. The limit is a bare gather, measured in turns with the learners: the sum of one number for each
non-zero, rows in the same order.
"""

import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, load_npz, save_npz

from septet.bench import Bench, Row, row, seconds
from septet.config import Settings
from septet.seeding import stream
from septet.vrda import VRDAClassifier
from septet.vrda.kernels import Rows, jit
from septet.vrda.prefetch import prefetch_row

Array = NDArray[Any]
PEERS = {"vowpalwabbit": "Vowpal Wabbit", "sklearn": "SGDClassifier", "river": "river"}
OURS = {"averaged": "vRDA averaged", "last": "vRDA last"}
SGD = [(alpha, eta0) for alpha in (3e-7, 3e-6, 1e-5, 3e-5) for eta0 in (3e-3, 1e-2, 3e-2)]
VW = [(l1, rate) for l1 in (0.0, 1e-8, 1e-7) for rate in (0.1, 0.2, 0.3, 0.5)]
GRIDS: dict[str, list[Any]] = {
    "vRDA averaged": [0.0, 1e-4, 3e-4, 1e-3, 2e-3],
    "vRDA last": [0.0, 1e-5, 3e-5, 1e-4, 3e-4],
    "SGDClassifier": SGD,
    "Vowpal Wabbit": VW,
    "river": [0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
}
"""Weights of l1 to choose from; SGDClassifier with a constant learning rate, Vowpal Wabbit with its own."""
PASSES = 6


class Setting(Settings):
    """What a bench ran with; part of its run card."""

    examples: int
    """Training examples; a fifth as many for development and for test."""
    columns: int
    nonzeros: int
    """Draws per example; equal columns count once."""
    repeats: int
    quick: bool
    """Whether two settings of each learner are tried, not its whole grid."""
    nonzeros_of_growth: int
    """Non-zeros of the data of each point of `growth`."""


def text_like(random: np.random.Generator, examples: int, columns: int, draws: int) -> tuple[csr_matrix, Array]:
    """Rows of ones at Zipf-distributed columns, labels from a sparse hidden weight vector and 5 % noise."""
    # The head of a Zipf law over all columns, by inversion, so that any dimension can be drawn.
    ranks = np.exp(random.random((examples, draws)) * np.log(columns)).astype(np.int64) - 1
    rows = csr_matrix((np.ones(ranks.size), ranks.ravel(), np.arange(0, ranks.size + 1, draws)), (examples, columns))
    rows.sum_duplicates()
    rows.data[:] = 1.0
    # A weight is a function of its column: training and test share it, and no dense vector is made.
    hashed = (rows.indices.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    share = (hashed >> np.uint64(40)).astype(np.float64) / 2.0**24
    weight = np.where((share < 0.3) & (rows.indices < 5000), np.sin(share * 1e4), 0.0)
    margin = np.add.reduceat(weight, rows.indptr[:-1])
    label = np.where(margin > 0, 1, -1)
    return rows, np.where(random.random(examples) < 0.05, -label, label)


def measure(setting: Setting) -> list[Row]:
    """The rows: the contenders on the same rows, the settings that were chosen for them, and how the cost grows."""
    with tempfile.TemporaryDirectory() as folder:
        results, limit, nonzeros = contenders(setting, Path(folder))
    chosen = [
        row(f"{what} on development rows, {name}", value, "")
        for name, found in results.items()
        for what, value in zip(("setting", "learning rate"), np.atleast_1d(found["setting"]).tolist(), strict=False)
    ]
    return [
        *compare(results, limit),
        row("time per non-zero of a bare gather", 1e9 * limit / nonzeros, "ns"),
        *chosen,
        *growth(setting.nonzeros_of_growth),
    ]


def contenders(setting: Setting, folder: Path) -> tuple[dict[str, dict[str, Any]], float, int]:
    """What was measured of each contender, see `child`; and seconds of a bare gather, of how many non-zeros."""
    fifth = setting.examples // 5
    X, y = text_like(stream(0, "bench"), setting.examples + 2 * fifth, setting.columns, setting.nonzeros)
    save_npz(folder / "X.npz", X, compressed=False)
    np.save(folder / "y.npy", y)
    _write_vw(folder, X[: setting.examples], y[: setting.examples])
    results: dict[str, dict[str, Any]] = {}
    for name, grid in GRIDS.items():
        found = [_measure(folder, name, value, setting) for value in (grid[1:3] if setting.quick else grid)]
        results[name] = min(found, key=lambda one: one["dev_error"])
        results[name]["at_edge"] = at_edge(results[name]["setting"], grid)
    train, weights = X[: setting.examples], np.ones(X.shape[1])
    order = np.random.default_rng(0).permutation(setting.examples)
    read = seconds(lambda: gather((train.data, train.indices, train.indptr), order, weights))
    read()  # compiles
    timed: dict[str, list[dict[str, Any]]] = {name: [] for name in results}
    reads = []
    for _ in range(setting.repeats):  # in turns, so that a slow moment of the machine meets all
        for name, best in results.items():
            timed[name].append(_measure(folder, name, best["setting"], setting))
            reads.append(read())
    for name, runs in timed.items():
        results[name].update({key: median(run[key] for run in runs) for key in ("seconds", "processor", "memory")})
    return results, median(reads), train.nnz


def at_edge(setting: Any, grid: list[Any]) -> float:
    """1.0 if a setting, or one of its numbers, is the least or largest of its grid; 0, which is no l1, is no edge."""
    numbers = [np.atleast_1d(one) for one in grid]
    chosen = np.atleast_1d(setting)
    ends = [(min(column), max(column)) for column in zip(*numbers, strict=True)]
    return float(any(value in end and value != 0.0 for value, end in zip(chosen, ends, strict=True)))


@jit
def gather(rows: Rows, order: Array, weights: Array) -> float:
    """The sum of the weights of all non-zeros, row by row: a pass that only looks weights up."""
    data, indices, indptr = rows
    total = 0.0
    for at in range(order.shape[0]):
        if at + 1 < order.shape[0]:
            prefetch_row(order[at + 1], indptr, indices, data)
        for p in range(np.uint64(indptr[order[at]]), np.uint64(indptr[order[at] + 1])):
            total += weights[np.uint64(indices[p])]
    return total


def compare(results: dict[str, dict[str, Any]], limit: float) -> list[Row]:
    """The rows that set each of our predictions beside each peer; the limit is the bare gather."""
    edges = float(sum(one.get("at_edge", 0.0) for one in results.values()))
    rows = [row("learners whose best setting is at an edge of its grid", edges, "learners")]
    for ours in OURS.values():
        for peer in PEERS.values():
            mine, other = results[ours], results[peer]
            speed, theirs = mine["examples"] / mine["seconds"], other["examples"] / other["seconds"]
            rows.append(
                row(f"examples per second and pass, {ours}", speed, "1/s", peer, theirs, limit / mine["seconds"])
            )
            speed, theirs = mine["examples"] / mine["processor"], other["examples"] / other["processor"]
            rows.append(row(f"examples per processor second and pass, {ours}", speed, "1/s", peer, theirs))
            for key, text, unit in (
                ("error", "test error", "share"),
                ("nonzeros", "non-zeros", "weights"),
                ("memory", "peak memory above the data", "MiB"),
            ):
                rows.append(row(f"{text}, {ours}", mine[key], unit, peer, other[key], None))
    return rows


def growth(total: int) -> list[Row]:
    """Time per non-zero as rows get longer, and as the space grows from 1e4 to 1e8 columns."""
    lengths = {f"{draws} draws a row": (total // draws, 1 << 17, draws) for draws in (10, 30, 100, 300)}
    widths = {f"1e{power} columns": (total // 80, 10**power, 80) for power in range(4, 9)}
    return [row(f"time per non-zero, {name}", _cost(*sizes), "ns") for name, sizes in {**lengths, **widths}.items()]


def _cost(examples: int, columns: int, draws: int) -> float:
    """Processor nanoseconds of one whole `fit` pass per non-zero, median of 3: it is one thread."""
    X, y = text_like(stream(0, "growth", columns, draws), examples, columns, draws)
    times = []
    for repeat in range(4):
        start = time.process_time()
        VRDAClassifier(l1=1e-3, max_iter=1, random_state=0).fit(X, y)
        if repeat:
            times.append(time.process_time() - start)
    return 1e9 * median(times) / X.nnz


def _write_vw(folder: Path, X: csr_matrix, y: Array) -> None:
    with (folder / "train.vw").open("w", encoding="utf-8") as file:
        for i, label in enumerate(y.tolist()):
            columns = X.indices[X.indptr[i] : X.indptr[i + 1]]
            file.write(f"{label} | {' '.join(map(str, columns.tolist()))}\n")


def _measure(folder: Path, name: str, value: Any, setting: Setting) -> dict[str, Any]:
    """Run one learner in a process of its own; see `_child`."""
    order = json.dumps([str(folder), name, value, setting.examples])
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from septet.vrda.bench import child; child(sys.argv[1])", order],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child(order: str) -> None:
    """Train one learner, and print what was measured as one line of JSON."""
    where, name, value, examples = json.loads(order)
    folder = Path(where)
    X, y = load_npz(folder / "X.npz"), np.load(folder / "y.npy")
    if name == "river":
        examples = min(examples, 2000)  # it takes one dictionary at a time
    fifth = (X.shape[0] - examples) // 2 if name != "river" else 2000
    parts = [X[:examples], X[-2 * fifth : -fifth], X[-fifth:]]
    labels = [y[:examples], y[-2 * fifth : -fifth], y[-fifth:]]
    learn = _learner(name, value, folder)
    learn(parts[0][:100], labels[0][:100], 1)  # compile, import, warm up
    before = _peak_of_now()
    start = _clocks()
    predict, nonzeros = learn(parts[0], labels[0], 1)
    one = _clocks() - start
    spent = one
    passes = PASSES if name != "river" else 1
    if passes > 1:
        start = _clocks()
        predict, nonzeros = learn(parts[0], labels[0], passes)
        spent = (_clocks() - start - one) / (passes - 1)
    memory = (_memory("VmHWM") - before) / 1024
    errors = [float(np.mean(predict(rows) != truth)) for rows, truth in zip(parts[1:], labels[1:], strict=True)]
    found = {"setting": value, "seconds": spent[0], "processor": spent[1], "memory": max(memory, 0.1)}
    found["dev_error"] = errors[0]
    print(json.dumps({**found, "error": errors[1], "nonzeros": nonzeros, "examples": len(labels[0])}))


def _clocks() -> Array:
    """Seconds of the wall clock and of the processor, all threads of this process together."""
    return np.array([time.perf_counter(), time.process_time()])


def _memory(key: str) -> float:
    """One line of /proc/self/status, in KiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(next(line for line in status.splitlines() if line.startswith(key)).split()[1])


def _peak_of_now() -> float:
    """Forget the peak so far (of reading the data), and return the memory in use in KiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return _memory("VmRSS")


def _learner(name: str, value: Any, folder: Path) -> Any:
    """`learn(X, y, passes)` of a contender; it returns a predictor and the number of non-zeros."""
    if name in OURS.values():
        prediction = next(key for key, shown in OURS.items() if shown == name)
        model: Any = VRDAClassifier(l1=value, prediction=prediction, random_state=0)
    elif name == "SGDClassifier":
        alpha, eta0 = value
        settings = {"penalty": "l1", "learning_rate": "constant", "average": True, "tol": None, "random_state": 0}
        model = importlib.import_module("sklearn.linear_model").SGDClassifier(alpha=alpha, eta0=eta0, **settings)
    elif name == "Vowpal Wabbit":
        return lambda X, y, passes: _vowpal(folder, value, X, y, passes)
    else:
        return lambda X, y, passes: _river(value, X, y)

    def learn(X: csr_matrix, y: Array, passes: int) -> Any:
        model.set_params(max_iter=passes).fit(X, y)
        return model.predict, int(np.count_nonzero(model.coef_))

    return learn


def _vowpal(folder: Path, value: list[float], X: csr_matrix, y: Array, passes: int) -> Any:
    """Vowpal Wabbit from its binary cache, made at the first call; the model is read back as numbers."""
    vowpal: Any = importlib.import_module("vowpalwabbit")
    data, columns = folder / "train.vw", X.shape[1]
    common = f"-d {data} --cache_file {data}.cache --holdout_off --quiet"
    if not Path(f"{data}.cache").exists():
        vowpal.Workspace(f"{common} -k").finish()
    if X.shape[0] < 1000:
        return None, 0  # the warm-up: the cache holds all rows
    model = folder / "model.txt"
    bits = max(columns - 1, 1).bit_length()
    options = (
        f"--loss_function hinge --l1 {value[0]} -l {value[1]} -b {bits} --passes {passes} --readable_model {model}"
    )
    vowpal.Workspace(f"{common} {options}").finish()
    w = np.zeros(1 << bits)
    for line in model.read_text(encoding="utf-8").split(":0\n")[-1].splitlines():
        place, _, rest = line.partition(":")
        if place.isdigit() and rest:
            w[int(place)] = float(rest.split()[0])
    constant = float(w[11650396 & ((1 << bits) - 1)])  # where Vowpal Wabbit keeps its intercept
    return lambda rows: np.where(rows @ w[:columns] + constant > 0, 1, -1), int(np.count_nonzero(w))


def _river(l1: float, X: csr_matrix, y: Array) -> Any:
    linear: Any = importlib.import_module("river.linear_model")
    optim: Any = importlib.import_module("river.optim")
    model = linear.LogisticRegression(optimizer=optim.FTRLProximal(l1=l1, l2=0.0))

    def features(rows: csr_matrix, i: int) -> dict[int, float]:
        return dict.fromkeys(rows.indices[rows.indptr[i] : rows.indptr[i + 1]].tolist(), 1.0)

    for i, label in enumerate(y.tolist()):
        model.learn_one(features(X, i), label > 0)
    count = sum(weight != 0.0 for weight in model.weights.values())
    return lambda rows: np.array(
        [1 if model.predict_one(features(rows, i)) else -1 for i in range(rows.shape[0])]
    ), count


BENCH = Bench(
    measure=measure,
    full=Setting(examples=200_000, columns=1 << 17, nonzeros=80, repeats=5, quick=False, nonzeros_of_growth=8_000_000),
    quick=Setting(examples=20_000, columns=1 << 17, nonzeros=80, repeats=1, quick=True, nonzeros_of_growth=1_000_000),
    packages=["septet", "septet.vrda"],
    libraries=["numpy", "numba", "scipy", "scikit-learn", "vowpalwabbit", "river"],
    peers=list(PEERS),
)
