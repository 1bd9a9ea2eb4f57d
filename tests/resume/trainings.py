"""Training jobs of a few seconds, resolved as the workflow does: defaults, the overlay of scale smoke, what differs."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from septet.workflow_config import Workflow, merge

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Training:
    """One `train` job.

    Attributes:
        package: whose verb it is; paper: whose experiment.
        changes: of the job's keys; of the task's.
        data: the verb `prepare` makes a file that it needs.
    """

    package: str
    paper: str
    method: str
    task: str
    changes: dict[str, Any] = field(default_factory=dict)
    of_task: dict[str, Any] = field(default_factory=dict)
    of_method: dict[str, Any] = field(default_factory=dict)
    data: bool = False

    def configuration(self, folder: Path) -> dict[str, Any]:
        """The resolved job; what it needs is made in `folder`."""
        workflow = Workflow(ROOT, {})
        job = workflow.training(self.paper, "smoke", self.method, self.task)
        if self.data:
            settings = workflow.settings(self.paper, "smoke")
            given = {"task": job["task"], **{key: settings[key] for key in ("root_seed", "data_source")}}
            job["data_file"] = str(self._prepared(folder, given))
        merge(job, {"method": self.of_method, "task": self.of_task})
        merge(job, self.changes)
        return job

    def _prepared(self, folder: Path, given: dict[str, Any]) -> Path:
        file = folder / "data" / "lists.safetensors"
        if not file.is_file():
            command = [sys.executable, "-m", f"septet.{self.package}", "prepare", "--config", "-", "--out"]
            subprocess.run(
                [*command, str(file.parent)], input=json.dumps(given), text=True, check=True, capture_output=True
            )
        return file


TRAININGS = {
    "dynts": Training("dynts", "dynts", "ts", "tau200", {"horizon": 20_000, "points": 40}),
    "vrda": Training("vrda", "vrda", "vrda_hinge", "craft_small", {"seeds": [*range(6)]}, data=True),
    "walle": Training("walle", "walle", "n1", "half_cheetah", of_task={"steps": 6000}),
    "rl": Training("rl", "rl", "ppo", "inverted_pendulum", of_task={"steps": 8192}),
    "svrpo": Training("svrpo", "svrpo", "svrpo", "cart_pole", of_task={"iterations": 12}),
    "metaexplore": Training("metaexplore", "metaexplore", "meta", "navigation", of_task={"steps": 3600}),
    "vipg": Training("vipg", "vipg", "v_trpo", "cart_pole", of_task={"iterations": 8}),
    "empg": Training("empg", "empg", "empg", "warm", of_task={"steps": 6}),
}  # fmt: skip
"""A job for every training verb; the drill of `make test` and of `make test-nightly`."""
MORE = {
    "walle, 2 samplers": Training("walle", "walle", "n2", "half_cheetah", of_task={"steps": 16_000}),
    "walle, pools in turn": Training("walle", "walle", "alternating", "slow_simulator", of_task={"steps": 1200}),
    "rl, ddpg": Training("rl", "rl", "ddpg", "pendulum_offpolicy", of_task={"steps": 3000}),
    "rl, the peer": Training("rl", "rl", "ppo_sb3", "inverted_pendulum", of_task={"steps": 8192}),
    "svrpo, svrpg": Training("svrpo", "svrpo", "svrpg", "pendulum", of_task={"iterations": 8}),
    "metaexplore, signal": Training("metaexplore", "metaexplore", "signal", "navigation"),
    "metaexplore, parameter noise": Training("metaexplore", "metaexplore", "parameter", "pendulum"),
    "vipg, action space": Training("vipg", "vipg", "action_trust", "cart_pole", of_task={"iterations": 8}),
    "vipg, posterior": Training("vipg", "vipg", "posterior_modes", "surface", of_method={"steps": 60}),
    "dynts, tracker": Training("dynts", "dynts", "ts_diagonal", "shared1000", {"horizon": 4000, "points": 40}),
}  # fmt: skip
"""Other kinds of state, nightly."""
