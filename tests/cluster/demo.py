"""`make cluster-demo`: scale `smoke` through profiles/slurm, on a SLURM cluster that lives on this machine meanwhile.

To watch from another terminal: eval "$(tests/cluster/cluster env)"; squeue. Arguments are handed on to snakemake.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CLUSTER = (sys.executable, str(HERE / "cluster"))
# This file system is not shared, and the queue is ours: no need to wait long.
QUICKLY = ("--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "5", "--jobs", "8")
NATIVELY = ("--software-deployment-method", "env-modules")  # a method that no rule here has


def boxed() -> bool:
    """Whether there are Apptainer and images."""
    images = HERE.parents[1] / "containers" / "images"
    return bool(shutil.which("apptainer")) and all(any(images.glob(f"{name}-*.sif")) for name in ("light", "rl", "llm"))


def main() -> int:
    """Start the cluster, run, stop the cluster: snakemake's exit code."""
    where = "in container images" if boxed() else "natively: Apptainer or the images are missing (make containers)"
    print(f"cluster-demo: jobs run {where}", flush=True)
    try:
        subprocess.run([*CLUSTER, "start"], check=True)
        found = subprocess.run([*CLUSTER, "env"], check=True, capture_output=True, text=True).stdout
        bin_folder = found.removeprefix("export PATH=").partition(":")[0].strip("'")
        command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", *QUICKLY]
        command += [*(() if boxed() else NATIVELY), *sys.argv[1:], "--config", "scale=smoke"]
        environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(command, env=environment).returncode
        subprocess.run([f"{bin_folder}/sacct", "-X", "-o", "jobid,state,elapsed,comment%60"], env=environment)
    except subprocess.CalledProcessError as error:
        return error.returncode  # it said why
    finally:
        subprocess.run([*CLUSTER, "stop"])
    return done


if __name__ == "__main__":
    sys.exit(main())
