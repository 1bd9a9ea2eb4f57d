"""What a SLURM cluster would refuse, or keep pending for ever, of the jobs of a run: one line for each."""

import getpass
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST_POLL = 180  # seconds: the executor plugin's longest wait between two looks at its jobs
POLL_AND_QUERY = LONGEST_POLL + 60  # and the longest that a look may take
NOTE = "note: "  # before what stops no first attempt


@dataclass(frozen=True)
class Job:
    """What the jobs of a rule ask for."""

    rule: str
    threads: int
    memory_mb: int
    minutes: int
    gpus: int
    partition: str
    """Names with commas; empty for the cluster's default."""
    account: str
    qos: str
    attempt: int = 1


@dataclass(frozen=True)
class Partition:
    """What a partition's jobs may ask for; of a node, the most that one of them has."""

    up: bool
    minutes: float
    memory_mb: int
    cpus: int
    gpus: int


class Silent(Exception):
    """A program of SLURM gave no answer."""


def ask(*command: str) -> str:
    """What a program of SLURM prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Silent(f"{command[0]}: {error}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise Silent(f"{command[0]} failed: {said[-1]}")
    return done.stdout


def problems(jobs: Sequence[Job], profile: Mapping[str, Any], at_a_time: float) -> list[str]:
    """What stands against a run of `jobs` with a profile's settings, `at_a_time` of them in the queue."""
    if missing := [name for name in ("sbatch", "squeue", "scontrol", "sinfo") if not shutil.which(name)]:
        return [f"SLURM: expected its programs on this machine, found no {', '.join(missing)}"]
    try:
        config = configuration(ask("scontrol", "show", "config"))
        partitions = read_partitions(ask("sinfo", "-h", "-a", "-N", "-o", "%P|%l|%a|%m|%c|%G"))
        placed = [job for job in jobs if job.partition or not profile.get("slurm-partition-config")]
        found = [*status(config, profile), *preemption(config, profile), *fits(placed, partitions)]
        return [*found, *accounts(config, jobs, profile, at_a_time)]
    except Silent as silent:
        return [f"SLURM: {silent}"]


def configuration(text: str) -> dict[str, str]:
    """`scontrol show config` as a mapping."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def minutes(text: str) -> float:
    """A time limit of SLURM, `[days-]hours:minutes:seconds` with as many parts as needed, in minutes."""
    if not re.fullmatch(r"[\d:-]+", text):
        return float("inf")  # infinite, UNLIMITED, or none set
    days, _, clock = text.rpartition("-")
    parts = [float(part) for part in clock.split(":")]
    if days:
        parts += [0.0] * (3 - len(parts))  # days-hours
    elif len(parts) == 1:
        return parts[0]  # minutes
    hours, minute, second = [0.0] * (3 - len(parts)) + parts
    return 1440 * float(days or 0) + 60 * hours + minute + second / 60


def number(text: str) -> int:
    """The number at the start of a field such as `8000+`."""
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 0


def read_partitions(text: str) -> dict[str, Partition]:
    """Partitions by name, from a line of sinfo for each node; the default one also has the name ``""``."""
    found: dict[str, Partition] = {}
    for line in filter(None, text.splitlines()):
        name, limit, up, memory, cpus, gres = line.split("|", 5)
        gpus = sum(int(count) for count in re.findall(r"gpu(?::[^:,(]+)*?:(\d+)(?=[,(]|$)", gres))
        for key in [name.rstrip("*"), *([""] if name.endswith("*") else [])]:
            before = found.get(key, Partition(False, 0, 0, 0, 0))
            found[key] = Partition(
                up=up == "up",
                minutes=minutes(limit),
                memory_mb=max(before.memory_mb, number(memory)),
                cpus=max(before.cpus, number(cpus)),
                gpus=max(before.gpus, gpus),
            )
    return found


def fits(jobs: Sequence[Job], partitions: Mapping[str, Partition]) -> list[str]:
    """Jobs that no node of their partition could run, or that ask for more time than it gives."""
    found: dict[tuple[str, str], str] = {}  # the first attempt of a rule that fails, for each reason
    for job in sorted(jobs, key=lambda one: one.attempt):
        lines = {name: refusal(job, name, partitions.get(name)) for name in job.partition.split(",")}
        if all(lines.values()):
            (name, (key, line)) = next((name, line) for name, line in lines.items() if line)
            if name not in partitions:
                line += f"; there are {', '.join(filter(None, sorted(partitions)))}"
            rule = f"{NOTE}{job.rule} in attempt {job.attempt}" if job.attempt > 1 else job.rule
            where = f"partition {name}" if name else "the default partition"
            found.setdefault((job.rule, key), f"{rule}: {where} {line}")
    return list(found.values())


def refusal(job: Job, name: str, partition: Partition | None) -> tuple[str, str] | None:
    """A reason's name and words why a job does not fit a partition; None if it does."""
    change = f"change it under set-resources of the profile ({job.rule}: {{%s}})"
    if partition is None:
        return "name", "does not exist"
    if not partition.up:
        return "up", "is not up"
    if job.minutes > partition.minutes:
        shorter = change % f"runtime: {partition.minutes:.0f}"
        return "time", f"gives {partition.minutes:.0f} minutes, it asks for {job.minutes}: {shorter}"
    if job.memory_mb > partition.memory_mb:
        less = change % f"mem_mb: {partition.memory_mb}"
        return "memory", f"has nodes of {partition.memory_mb} MB, it asks for {job.memory_mb}: {less}"
    if job.threads > partition.cpus:
        return "cpus", f"has nodes of {partition.cpus} cores, it asks for {job.threads}: use set-threads of the profile"
    if job.gpus > partition.gpus:
        return "gpus", f"has nodes of {partition.gpus} GPUs, it asks for {job.gpus}: name another partition"
    return None


def status(config: Mapping[str, str], profile: Mapping[str, Any]) -> list[str]:
    """Whether the plugin learns how jobs ended: squeue forgets them after MinJobAge, sacct needs accounting."""
    age = number(config.get("MinJobAge", "300"))
    counted = has_accounting(config)
    first = profile.get("slurm-init-seconds-before-status-checks", 40)
    by_sacct = profile.get("slurm-status-command") == "sacct" or 3 * first > age
    if by_sacct and shutil.which("sacct") and age:
        if counted:
            return []
        return [f"MinJobAge is {age} s, so the plugin asks sacct, but this cluster keeps no accounts"]
    if 0 < age < POLL_AND_QUERY:  # 0: never forgotten
        remedy = "set slurm-status-command: sacct in the profile" if counted else "ask for a longer one"
        return [
            f"MinJobAge is {age} s, expected {POLL_AND_QUERY} or more: the plugin looks every {LONGEST_POLL} s only, "
            f"and a job that was forgotten meanwhile counts as running forever: {remedy}"
        ]
    return []


def has_accounting(config: Mapping[str, str]) -> bool:
    """Whether the cluster keeps accounts of its jobs."""
    return config.get("AccountingStorageType", "").endswith("/slurmdbd")


def preemption(config: Mapping[str, str], profile: Mapping[str, Any]) -> list[str]:
    """A preempted job has to come back: the plugin takes PREEMPTED for running."""
    modes = config.get("PreemptMode", "OFF").upper().split(",")
    if "REQUEUE" in modes and not profile.get("slurm-requeue"):
        return ["PreemptMode is REQUEUE: expected slurm-requeue: true in the profile, or a preempted job hangs the run"]
    return []


def accounts(config: Mapping[str, str], jobs: Sequence[Job], profile: Mapping[str, Any], at_a_time: float) -> list[str]:
    """The limits of this user's accounts and qualities of service, and the accounts themselves."""
    asked = sorted({name for job in jobs for name in re.split(r"[,\s]+", job.account) if name})
    if not has_accounting(config):
        return [f"slurm_account: {name}: this cluster has no accounts, drop the line" for name in asked]
    mine = [f"user={getpass.getuser()}", f"cluster={config['ClusterName']}"]
    rows = table(ask("sacctmgr", "-nP", "show", "assoc", *mine, "format=account,defaultqos,maxsubmitjobs,maxwall"))
    found, limits = [], []
    for name in asked:
        if not (of_it := [row for row in rows if row[0].lower() == name.lower()]):
            there = ", ".join(sorted({row[0] for row in rows})) or "none"
            found.append(f"slurm_account: expected one of yours ({there}), found {name}")
        limits += [(f"account {name}", *row[1:]) for row in of_it]
    if not asked:
        limits += [(f"account {row[0]}", *row[1:]) for row in rows]
    enforced = config.get("AccountingStorageEnforce", "")
    if "limits" not in enforced:
        return found
    given = {job.qos for job in jobs if job.qos} | set(filter(None, [profile.get("slurm-qos")]))
    names = given or {row[1] for row in limits if row[1]} or {"normal"}
    services = table(ask("sacctmgr", "-nP", "show", "qos", "format=name,maxsubmitpu,maxsubmitpa,maxwall"))
    limits += [(f"qos {row[0]}", "", row[place], row[3]) for row in services if row[0] in names for place in (1, 2)]
    longest = max(jobs, key=lambda job: job.minutes, default=None)
    for name, _, submitted, wall in dict.fromkeys(limits):
        if submitted and at_a_time > int(submitted):
            found.append(
                f"{name} lets you have {submitted} jobs in the queue, the profile submits up to {at_a_time:.0f}: set "
                f"jobs: {submitted} in the profile, or sbatch refuses the others until their attempts are used up"
            )
        if longest and longest.minutes > minutes(wall):
            found.append(
                f"{longest.rule}: {name} gives {minutes(wall):.0f} minutes, it asks for {longest.minutes}: change it "
                f"under set-resources of the profile ({longest.rule}: {{runtime: {minutes(wall):.0f}}})"
            )
    return found


def table(text: str) -> list[tuple[str, ...]]:
    """Rows of a program's parsable output."""
    return [tuple(line.split("|")) for line in text.splitlines() if line]
