"""Each job gets a GPU of its own, as long as it lives."""

import os
import signal
import subprocess
import sys

import pytest

from septet import devices
from septet.errors import InputError

JOB = """
import os, time
from septet.devices import claim
device = claim(poll=0.01)
assert claim() == device
print(device, os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Starts a job that claims a device and says which; all are killed at the end."""
    jobs = []

    def begin(listed="3,5", **more):
        environment = {**os.environ, "SEPTET_GPUS": listed, "SEPTET_CACHE": str(tmp_path), **more}
        jobs.append(
            subprocess.Popen(
                [sys.executable, "-c", JOB], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        return jobs[-1]

    yield begin
    for job in jobs:
        job.kill()
        job.communicate()


def test_two_jobs_get_two_devices_and_a_third_waits_until_one_is_killed(start):
    first, second = start(), start()
    given = {first: first.stdout.readline(), second: second.stdout.readline()}
    assert set(given.values()) == {"3 3\n", "5 5\n"}
    third = start()
    assert third.stderr.readline() == "waiting for one of the GPUs 3,5\n"
    second.send_signal(signal.SIGKILL)
    assert third.stdout.readline() == given[second]


@pytest.fixture
def free(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_held", [])
    monkeypatch.setenv("SEPTET_CACHE", str(tmp_path))
    monkeypatch.delenv("SEPTET_GPUS", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "as it was")
    return monkeypatch


def test_nothing_is_claimed_where_nothing_is_shared_out(free):
    assert devices.claim() is None
    free.setenv("SEPTET_GPUS", "0")
    free.setenv("LOCAL_RANK", "1")
    assert devices.claim() is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "as it was"


@pytest.mark.parametrize("listed", ["", "0,0", "0,,1", "../0", "0 1"])
def test_a_list_that_names_no_devices_is_refused(free, tmp_path, listed):
    free.setenv("SEPTET_GPUS", listed)
    with pytest.raises(InputError, match="SEPTET_GPUS: expected different devices"):
        devices.claim()
    assert not list(tmp_path.iterdir())
