"""Small models and jobs that the tests share."""

import importlib.util
import os

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from septet.empg.config import Job
from septet.empg.experiments import Experiments

os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)
EXPERIMENTS = Experiments()


def job(method="empg", task="warm", seeds=(0, 1), method_settings=None, task_settings=None, **settings):
    """A small job: few steps, few test prompts."""
    small = {"steps": 6, "prompts": 4, "eval_every": 3, "eval_prompts": 8, **(task_settings or {})}
    return Job(
        method=EXPERIMENTS.methods[method].model_copy(update={"name": method, **(method_settings or {})}),
        task=EXPERIMENTS.tasks[task].model_copy(update={"name": task, **small}),
        seeds=list(seeds),
        **settings,
    )


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=20, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=None, eos_token_id=None,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )
    ).eval()  # fmt: skip


def llama(rows=20):
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=rows, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64,
        )
    ).eval()  # fmt: skip


def uniforms(count, limit, seed=0):
    return np.random.default_rng(seed).random((count, limit), dtype=np.float32)


def has(package):
    return importlib.util.find_spec(package) is not None
