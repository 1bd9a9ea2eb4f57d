"""The logger that `make` starts Snakemake with: one line per finished step."""

import logging
import re

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry
from snakemake_interface_logger_plugins.tests import MockOutputSettings

from septet.ops.progress import LogHandler, name_of


@pytest.fixture
def say():
    handler = LogHandler(MockOutputSettings(), None)

    def emit(event=None, level=logging.INFO, msg=None, **fields):
        record = logging.LogRecord("snakemake", level, "", 0, msg, (), None)
        record.__dict__.update(fields, event=event)
        handler.emit(record)

    return emit


def test_snakemake_finds_it():
    assert LoggerPluginRegistry().get_plugin("septet").log_handler is LogHandler


def test_a_finished_step_is_one_line_with_paper_method_task_and_times(say, capsys):
    wildcards = {"scale": "smoke", "method": "n1", "task": "half_cheetah"}
    say(LogEvent.JOB_INFO, jobid=3, rule_name="walle_train", wildcards=wildcards)
    say(LogEvent.SHELLCMD, msg="python -m septet.walle train")
    say(LogEvent.JOB_FINISHED, job_id=3, msg="Finished jobid: 3")
    say(msg="Select jobs to execute...")
    say(LogEvent.PROGRESS, done=1, total=4)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.fullmatch(r"\[1/4\] walle train n1 half_cheetah  0 s  about 0 s left", lines[0])


def test_nothing_done_yet_is_no_error(say, capsys):
    say(LogEvent.PROGRESS, done=0, total=4)
    assert capsys.readouterr().err == ""


def test_a_failed_step_names_its_log_and_warnings_are_shown(say, capsys):
    say(LogEvent.JOB_INFO, jobid=1, rule_name="adopt", wildcards={"paper": "vrda"})
    say(LogEvent.JOB_ERROR, logging.ERROR, jobid=1, rule_name="adopt", log=["logs/a.log"], shellcmd="printf %s")
    say(level=logging.WARNING, msg="a warning")
    assert capsys.readouterr().err == "failed: vrda adopt; log: logs/a.log\na warning\n"


def test_names():
    assert name_of("all", {}) == "all"
    assert name_of("judge", {"paper": "vrda", "scale": "laptop"}) == "vrda judge"


def test_what_ends_snakemake_itself_is_shown(say, capsys):
    """A missing input, a cycle, a lock: errors of no job."""
    say(LogEvent.ERROR, logging.ERROR, msg="MissingInputException in rule judge", exception="MissingInputException")
    say(LogEvent.GROUP_ERROR, logging.ERROR, groupid="seeds")
    assert capsys.readouterr().err == (
        "MissingInputException in rule judge\nfailed: group seeds; VERBOSE=1 shows its jobs\n"
    )
