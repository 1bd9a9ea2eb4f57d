"""Wrong usage of `make` ends in one line, before anything is installed."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["reproduce", "PROFILE=lokal"], "PROFILE: expected one of local"),
        (["reproduce", "SCALE=papr"], "SCALE: expected one of laptop paper smoke, found papr"),
        (["reproduce", "PAPERS=wall"], "found wall"),
        (["new-paper"], "ID: expected the name of the new paper: make new-paper ID=name, found nothing"),
        (["figurs"], "no target figurs; did you mean figures?"),
    ],
)
def test_wrong_usage_is_one_line_at_once(words, line):
    done = subprocess.run(["make", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    told = [one for one in done.stderr.splitlines() if "*** [" not in one]
    assert len(told) == 1 and line in told[0], done.stderr


def test_right_usage_passes():
    words = ["make", "-n", "reproduce", "PAPERS=walle,svrpo", "SCALE=smoke"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "--logger septet" in done.stdout
    verbose = subprocess.run([*words, "VERBOSE=1"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "--logger" not in verbose.stdout
