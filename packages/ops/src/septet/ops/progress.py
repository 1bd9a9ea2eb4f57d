"""One line for each finished step of a run: the logger that `make` starts Snakemake with."""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from septet.report.formatting import duration_text

BAR = 30
"""Width of the progress bar, in columns."""


def name_of(rule: str, wildcards: Mapping[str, str]) -> str:
    """A step in words: paper, what is done, method and task, such as `walle train n1 half_cheetah`."""
    paper, _, verb = rule.rpartition("_")
    own = [str(wildcards[key]) for key in ("method", "task", "data", "name") if key in wildcards]
    return " ".join(filter(None, [wildcards.get("paper") or paper, verb, *own]))


class LogHandler(LogHandlerBase):
    """Writes to standard error: lines, and below them on a terminal a bar that is drawn over."""

    writes_to_stream = True  # in the place of Snakemake's own log
    writes_to_file = False  # Snakemake's own file, .snakemake/log, stays as it is
    has_filter = True  # it chooses itself what it shows
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Start the clock."""
        self.began = time.monotonic()
        self.running: dict[int, tuple[str, float]] = {}  # id of a job -> its name and start
        self.ended: list[str] = []
        self.live = sys.stderr.isatty() and not self.common_settings.dryrun

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record of Snakemake's log."""
        try:
            self._show(getattr(record, "event", None), record.__dict__, record)
        except Exception:  # a log must not end a run
            self.handleError(record)

    def _show(self, event: LogEvent | None, known: Mapping[str, Any], record: logging.LogRecord) -> None:
        if event == LogEvent.JOB_INFO:
            name = name_of(known["rule_name"], known["wildcards"] or {})
            self.running[known["jobid"]] = name, time.monotonic()
        elif event == LogEvent.JOB_FINISHED:
            if known["job_id"] in self.running:
                name, started = self.running.pop(known["job_id"])
                self.ended.append(f"{name}  {duration_text(time.monotonic() - started)}")
        elif event == LogEvent.PROGRESS:
            self._progress(known["done"], known["total"])
        elif event == LogEvent.JOB_ERROR:
            name = name_of(known["rule_name"], known.get("wildcards", {}))
            name, _ = self.running.pop(known["jobid"], (name, 0.0))
            self._line(f"failed: {name}; log: {', '.join(known['log'] or ['none'])}")
        elif event == LogEvent.GROUP_ERROR:
            self._line(f"failed: group {known.get('groupid')}; VERBOSE=1 shows its jobs")
        elif record.levelno >= logging.WARNING and event in (None, LogEvent.ERROR) and record.msg:
            self._line(record.getMessage())

    def _progress(self, done: int, total: int) -> None:
        seconds = (
            (time.monotonic() - self.began) * (total - done) / max(done, 1)
        )  # if those left take as long as those done
        left = f"about {duration_text(seconds)} left" if done < total else "done"
        for ended in self.ended:
            self._line(f"[{done}/{total}] {ended}" + ("" if self.live else f"  {left}"))
        self.ended.clear()
        if self.live and done < total:
            full = BAR * done // total
            sys.stderr.write(f"\r\x1b[K{'█' * full}{'░' * (BAR - full)} {done}/{total}, {left}")
            sys.stderr.flush()

    def _line(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}\n" if self.live else f"{text}\n")
        sys.stderr.flush()
