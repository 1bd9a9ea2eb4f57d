"""The vLLM back end: completions drawn by a server process in an environment of its own.

vLLM's pins conflict with those of the trainer, so it never shares an interpreter with it. The two talk in lines
of JSON over a pipe; weights go through a safetensors file, written whole and renamed. The command that starts the
server is in EMPG_VLLM, for example ``apptainer exec --nv vllm.sif python -m septet.empg.vllm_server``.
"""

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn.utils.rnn import pad_sequence

from septet.cache import cache_root
from septet.empg.config import Hub, Job
from septet.empg.engines import Engine, Prompts, Uniforms
from septet.empg.models import computes_in
from septet.empg.policy import Policy
from septet.empg.sample import Rollout
from septet.empg.shards import whole
from septet.empg.tokens import Tokenizer
from septet.errors import InputError
from septet.files import replacing


class Vllm(Engine):
    """Draws completions through `septet.empg.vllm_server`.

    Raises:
        InputError: EMPG_VLLM is not set, the model is not one of the hub, or the server ended.
    """

    def __init__(self, job: Job, policy: Policy, tokenizer: Tokenizer) -> None:
        command, model = os.environ.get("EMPG_VLLM"), job.task.model
        if not command:
            raise InputError("engine vllm", expected="the server's command in EMPG_VLLM", found="nothing")
        if not isinstance(model, Hub):
            raise InputError("engine vllm", expected="a model of the hub", found=model.kind)
        self._tokenizer = tokenizer
        # not the temporary folder: a container has it in memory, and small
        self._folder = tempfile.TemporaryDirectory(prefix="empg-vllm-", dir=cache_root())
        pipe, env = subprocess.PIPE, surroundings(os.environ)
        self._server = subprocess.Popen(shlex.split(command), stdin=pipe, stdout=pipe, env=env, encoding="utf-8")
        self._dtype = computes_in(job)
        dtype = str(self._dtype).removeprefix("torch.")
        self._ask({"load": model.name, "revision": model.revision, "dtype": dtype, "memory": job.vllm_memory})

    def generate(self, prompts: Prompts, samples: int, limit: int, uniforms: Uniforms, temperature: float) -> Rollout:
        """N completions of each prompt. vLLM draws its own random numbers; `uniforms` gives it a seed."""
        answer = self._ask(
            {
                "prompts": [list(prompt) for prompt in prompts],
                "samples": samples,
                "limit": limit,
                "temperature": 0.0 if uniforms is None else temperature,
                "seed": None if uniforms is None else int(uniforms[0, 0] * 2**31),
                "stop": list(self._tokenizer.ends),
            }
        )
        return rollout_of(prompts, samples, answer["tokens"], answer["log_pi"], self._tokenizer)

    def refresh(self, policy: Policy) -> None:
        """Write the weights and have the server read them."""
        file = Path(self._folder.name) / "weights.safetensors"
        named = policy.lm.named_parameters()  # a tied head is not named, for it is the embedding
        weights = {name: whole(weight, dtype=self._dtype).contiguous() for name, weight in named}
        with replacing(file) as temporary:
            save_file(weights, temporary)
        self._ask({"weights": str(file)})

    def close(self) -> None:
        """End the server."""
        if self._server.stdin is not None:
            self._server.stdin.close()
        self._server.wait(timeout=60)
        self._folder.cleanup()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None and self._server.stdout is not None
        try:
            self._server.stdin.write(json.dumps(message) + "\n")
            self._server.stdin.flush()
        except OSError:
            raise InputError("engine vllm", expected="a running server", found="it ended") from None
        for line in self._server.stdout:
            if line.startswith('{"empg"'):  # vLLM prints to standard output too
                answer: dict[str, Any] = json.loads(line)["empg"]
                return answer
        raise InputError("engine vllm", expected="an answer from the server", found="it ended")


def surroundings(own: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: this process's GPU alone, and nothing of the launch, which vLLM would take for its."""
    cards = own.get("CUDA_VISIBLE_DEVICES", "").split(",")
    launch = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    without = {name: value for name, value in own.items() if name not in launch}
    if "LOCAL_RANK" not in own:
        return without
    place = int(own["LOCAL_RANK"])
    return {**without, "CUDA_VISIBLE_DEVICES": cards[place] if cards != [""] else str(place)}


def rollout_of(
    prompts: Prompts, samples: int, tokens: list[list[int]], log_pi: list[list[float]], tokenizer: Tokenizer
) -> Rollout:
    """A rollout from lists of tokens and log-probabilities."""
    return Rollout(
        prompts=[list(prompt) for prompt in prompts],
        samples=samples,
        tokens=pad_sequence([torch.tensor(row) for row in tokens], True, tokenizer.pad),
        lengths=torch.tensor([len(row) for row in tokens]),
        log_pi=pad_sequence([torch.tensor(row) for row in log_pi], True),
        finished=torch.tensor([row[-1] in tokenizer.ends for row in tokens]),
    )
