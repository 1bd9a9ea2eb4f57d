"""Wrong usage of `make` ends in one line, before anything is installed."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(*words):
    """Call make as from a shell, also where the tests themselves were called by make."""
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", *words], cwd=ROOT, env=outside, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["reproduce", "PROFILE=lokal"], "PROFILE: expected one of local"),
        (["reproduce", "SCALE=papr"], "SCALE: expected one of laptop overnight paper smoke, found papr"),
        (["reproduce", "PAPERS=wall"], "found wall"),
        (["empg_real", "PROCESSOR=fast"], "PROCESSOR: expected one of portable compatible native, found fast"),
        (["new-paper"], "ID: expected the name of the new paper: make new-paper ID=name, found nothing"),
        (["figurs"], "no target figurs; did you mean figures?"),
    ],
)
def test_wrong_usage_is_one_line_at_once(words, line):
    done = make(*words)
    assert (done.returncode, done.stdout) == (2, "")
    told = [one for one in done.stderr.splitlines() if "*** [" not in one]
    assert len(told) == 1 and line in told[0], done.stderr


def test_right_usage_passes():
    words = ["-n", "reproduce", "PAPERS=walle,svrpo", "SCALE=smoke"]
    done = make(*words)
    assert done.returncode == 0, done.stderr
    assert "--logger septet" in done.stdout
    assert "--logger" not in make(*words, "VERBOSE=1").stdout
    assert "processor=" not in done.stdout
    for target in ("reproduce", "empg_real"):
        assert " processor=native" in make("-n", target, "PROCESSOR=native").stdout
