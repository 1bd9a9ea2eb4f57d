"""The plan as text for a terminal."""

from septet.ops.scaling import in_words
from septet.report.planned import Plan, Row


def text(plan: Plan) -> str:
    """The plan as lines of a table, and what it is based on."""
    head = (
        f"{'paper':12}{'rule':10}{'jobs':>5}  {'core-hours':>24}  {'GPU-hours':>24}  {'memory':>7}  {'longest job':>11}"
    )
    lines = [f"scale {plan.scale}: {plan.jobs} jobs, {plan.done} of them done", "", head]
    lines += [_line(row) for row in plan.rows]
    cores = [row for row in plan.rows if row.gpu_hours is None]
    gpu = [row for row in plan.rows if row.gpu_hours is not None]
    lines += ["", f"core-hours without the GPU jobs: {_sum(cores, 'core_hours')}"]
    if gpu:
        lines.append(f"GPU-hours: {_sum(gpu, 'gpu_hours')}, {gpu[0].basis}")
    lines.append(f"longest path: {clock(plan.longest_path_s)}")
    lines += [
        f"wall time on {wall.cores} cores: {clock(wall.wall_s)} ({clock(wall.low)} to {clock(wall.high)})"
        for wall in plan.walls
    ]
    lines += ["", "what it stands on:"]
    for row in plan.rows:
        rule = in_words(row.paper) if row.rule == "train" and row.gpu_hours is None else ""
        lines.append(f"  {row.paper} {row.rule}: {'; '.join(filter(None, (row.basis, rule)))}")
    lines += [
        f"no benchmark: {row.paper} {row.rule}, {row.unknown} of {row.jobs} jobs; not in the estimate, "
        "their time limit is in the upper end"
        for row in plan.rows
        if row.unknown
    ]
    lines += [
        f"over the time limit: {row.paper} {row.rule}, {row.late} of {row.jobs} jobs; the first attempt will be cut "
        "and the next one goes on"
        for row in plan.rows
        if row.late
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    core = "-" if row.core_hours is None else _interval(row.core_hours, row.low, row.high)
    gpu = "-" if row.gpu_hours is None else _interval(row.gpu_hours, row.low, row.high)
    if row.gpu_hours is not None:
        core = f"{row.core_hours:.3g}"
    longest = "?" if row.wall_s is None else clock(row.wall_s)
    memory = f"{row.memory_mb / 1000:.1f} GB"
    return f"{row.paper:12}{row.rule:10}{row.jobs:>5}  {core:>24}  {gpu:>24}  {memory:>7}  {longest:>11}"


def _sum(rows: list[Row], hours: str) -> str:
    value = sum(getattr(row, hours) or 0.0 for row in rows)
    return _interval(value, sum(row.low for row in rows), sum(row.high or 0 for row in rows))


def _interval(value: float, low: float, high: float | None) -> str:
    return f"{value:.3g} ({low:.3g} to {'?' if high is None else f'{high:.3g}'})"


def clock(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= 60):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
