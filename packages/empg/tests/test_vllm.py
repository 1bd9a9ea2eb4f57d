"""The vLLM back end against a stand-in: what the two processes say to each other. vLLM itself never ran here."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from empg_helpers import gpt2

from septet.empg.config import Hub
from septet.empg.policy import Policy
from septet.empg.vllm_engine import Vllm
from septet.errors import InputError

STAND_IN = """
from types import SimpleNamespace as S

weights = {}

class Model:
    def load_weights(self, pairs):
        weights.update(pairs)

class LLM:
    def __init__(self, **asked):
        assert asked["model"] == "some/model" and asked["revision"] == "a" * 40 and asked["dtype"] == "float32"
        assert asked["gpu_memory_utilization"] == 0.3 and asked["logprobs_mode"] == "processed_logprobs"
        print("vLLM talks")

    def apply_model(self, function):
        function(Model())

    def reset_prefix_cache(self):
        pass

    def generate(self, prompts, each, use_tqdm):
        assert len({wanted.seed for wanted in each}) == len(prompts)  # one seed would give equal prompts equal noise
        wanted = each[0]
        first = int(weights["transformer.wte.weight"][0, 0])  # the newest weights, for all to see
        def one(prompt, j):
            tokens = [first, prompt["prompt_token_ids"][0], 18][: wanted.max_tokens][j:]
            return S(token_ids=tokens, logprobs=[{t: S(logprob=-0.5 * (1 + j))} for t in tokens])
        return [S(outputs=[one(prompt, j) for j in range(wanted.n)]) for prompt in prompts]

class SamplingParams:
    def __init__(self, **asked):
        assert asked["stop_token_ids"] == [18] and asked["logprobs"] == 0
        self.__dict__.update(asked)
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/__init__.py").write_text(STAND_IN)
    (tmp_path / "vllm/inputs.py").write_text("TokensPrompt = dict\n")
    source = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from septet.empg.vllm_server import main; main()"
    monkeypatch.setenv("EMPG_VLLM", f'{sys.executable} -c "{source}"')
    model = Hub(kind="hub", name="some/model", revision="a" * 40, dtype="float32")
    return SimpleNamespace(task=SimpleNamespace(model=model), vllm_memory=0.3)


def test_completions_come_back_with_their_log_probabilities_from_the_newest_weights(job):
    policy = Policy(gpt2())
    engine = Vllm(job, policy, SimpleNamespace(ends=(18,), pad=19))
    for first in (7, 8):
        with torch.no_grad():
            policy.lm.transformer.wte.weight[0, 0] = first
        engine.refresh(policy)
        found = engine.generate([[1, 2], [3]], 2, 5, np.full((4, 5), 0.5, np.float32), 1.0)
        assert found.completions() == [[first, 1, 18], [1, 18], [first, 3, 18], [3, 18]]
        assert found.log_pi[1].tolist() == [-1.0, -1.0, 0.0] and found.finished.all()
    engine.close()


def test_without_a_server_it_is_one_line(job, monkeypatch):
    monkeypatch.setenv("EMPG_VLLM", f"{sys.executable} -c pass")
    with pytest.raises(InputError, match="engine vllm: expected"):
        Vllm(job, Policy(gpt2()), SimpleNamespace(ends=(18,), pad=19))
    monkeypatch.delenv("EMPG_VLLM")
    with pytest.raises(InputError, match="EMPG_VLLM"):
        Vllm(job, Policy(gpt2()), SimpleNamespace(ends=(18,), pad=19))
