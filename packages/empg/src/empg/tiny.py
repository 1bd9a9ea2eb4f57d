"""The tiny model and its recipe: a two-layer GPT-2 over characters, trained on imperfect demonstrations."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from empg.problems import Questions, chains, demonstrate_chain, demonstrate_steps, step_problems
from empg.tokens import CharTokenizer
from septet.errors import InputError
from septet.files import replacing
from septet.seeding import stream

PLAIN, CLEAN = 0.5, 0.75


def blank() -> Any:
    """The untrained model: 2 layers, width 64, 4 heads, learned positions, 0.1 M weights."""
    config = GPT2Config(
        vocab_size=CharTokenizer().size, n_positions=64, n_embd=64, n_layer=2, n_head=4,
        activation_function="gelu_pytorch_tanh", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model: Any = GPT2LMHeadModel(config)
    return model.eval()


def base_file(base: str) -> Path:
    """The shipped weights of a base."""
    return Path(str(files("empg") / "bases" / f"{base}.safetensors"))


def load(file: Path) -> Any:
    """A base from its weights. Raises InputError if the file is missing or holds something else."""
    model = blank()
    try:
        weights = {name: value.float() for name, value in load_file(file).items()}
        model.load_state_dict({**weights, "lm_head.weight": weights["transformer.wte.weight"]})
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        found = str(error).partition("\n")[0]
        raise InputError(str(file), expected="weights of the tiny model", found=found) from None
    return model


def save(model: Any, file: Path) -> None:
    """Write a base in half precision; the head is the embedding, so it is left out."""
    weights = {
        name: value.half().contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"
    }
    with replacing(file) as temporary:
        save_file(weights, temporary)


def train_base(base: str, root_seed: int, steps: int) -> Any:
    """Train a base on its demonstrations with Adam.

    Bases `warm` and `cold`: batches of 128, learning rate 3e-3 (section 7), which falls to 0 for `warm`. For `cold` it
    stays: a base that ends in a sharp minimum forgets its sums at the first steps of reinforcement learning, long
    before it finds the terminator that earns a reward. Base `steps`: batches of 64, learning rate 4e-3 that falls to 0
    in the last quarter. It sees right results without fillers in the first half of the steps, with fillers until three
    quarters, and after that wrong results too, each with probability 0.35: from noise alone it learns nothing.
    """
    questions: Questions = step_problems(root_seed) if base == "steps" else chains(root_seed)
    draw = stream(root_seed, "base", base)
    torch.manual_seed(int(draw.integers(2**31)))
    model = blank().train()
    tokenizer = CharTokenizer()
    batch, rate = (64, 4e-3) if base == "steps" else (128, 3e-3)
    fall = {"warm": 1.0, "cold": 0.0, "steps": 1 - CLEAN}[base]  # last part of the steps in which the rate falls
    optimiser = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    problems = questions.train
    for step in range(steps):
        texts = []
        for index in draw.integers(len(problems), size=batch):
            problem = problems[index]
            if base == "steps":
                answer = demonstrate_steps(
                    problem, draw, wrong=0.35 if step >= CLEAN * steps else 0.0, fillers=step >= PLAIN * steps
                )
            else:
                answer = demonstrate_chain(problem, draw, base)
            texts.append((tokenizer.encode(problem.prompt), tokenizer.encode(answer)))
        width = max(len(prompt) + len(answer) for prompt, answer in texts)
        ids = torch.full((batch, width), tokenizer.pad)
        labels = torch.full((batch, width), -100)
        for row, (asked, told) in enumerate(texts):
            both = len(asked) + len(told)
            ids[row, :both] = torch.tensor(asked + told)
            labels[row, len(asked) : both] = torch.tensor(told)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50, (1 - step / steps) / fall if fall else 1.0)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()
