"""The tiny model and its recipe: a two-layer GPT-2 over characters, trained on imperfect demonstrations."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, GPT2Config, GPT2LMHeadModel, GPT2Model, GPT2PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from septet.empg.problems import Questions, chains, demonstrate_chain, demonstrate_steps, step_problems
from septet.empg.tokens import CharTokenizer
from septet.errors import InputError
from septet.files import replacing
from septet.seeding import stream

PLAIN, CLEAN = 0.5, 0.75


class Body(GPT2Model):  # type: ignore[no-untyped-call]
    """GPT-2 without dropout, its pass written out: the same operations in the same order, less Python around them.

    At width 64 the kernels take less than half of the library's time for a token. What the trainer asks for is written
    out here; any other call, and sharded weights, go the library's way.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._heads, self._epsilon = config.n_head, config.layer_norm_epsilon  # slow to ask the configuration for
        self._blocks: list[tuple[Tensor, ...]] | None = None

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        *,
        position_ids: Tensor | None = None,
        use_cache: bool | None = None,
        **other: Any,
    ) -> Any:
        """Hidden states after the last layer.

        Args:
            input_ids, position_ids: ``(R, T)``.
            past_key_values: keys and values of the S tokens before; those of these T are added.
            attention_mask: what each token may look at: ``(R, 1, T, S + T)`` booleans, ``(R, S + T)`` for rows with
                padding, or none.
            use_cache: return `past_key_values`.
            other: further arguments of `transformers`.
        """
        blocks = self._written_out()
        ours = attention_mask is None or attention_mask.dtype == torch.bool
        made = past_key_values is not None or not use_cache
        if not (blocks and ours and made) or input_ids is None or position_ids is None or other:
            return super().forward(
                input_ids, past_key_values, attention_mask, position_ids=position_ids, use_cache=use_cache, **other
            )
        rows, width = input_ids.shape
        mask, before = attention_mask, past_key_values.get_seq_length() if past_key_values is not None else 0
        if mask is None and before and width > 1:
            mask = torch.ones(rows, before + width, dtype=torch.bool, device=input_ids.device)
        if mask is not None and mask.dim() == 2:
            mask = _causal(mask, width)
        size = (self.wte.weight.shape[1],)
        hidden = functional.embedding(input_ids, self.wte.weight) + functional.embedding(position_ids, self.wpe.weight)
        hidden = hidden.view(rows * width, -1)
        for layer, weights in enumerate(blocks):
            scale, shift, w_qkv, b_qkv, w_o, b_o, scale_2, shift_2, w_up, b_up, w_down, b_down = weights
            x = functional.layer_norm(hidden, size, scale, shift, self._epsilon)
            qkv = torch.addmm(b_qkv, x, w_qkv).view(rows, width, 3, self._heads, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
            if past_key_values is not None:
                k, v = past_key_values.update(k, v, layer)
            seen = functional.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None and width > 1)
            hidden = torch.addmm(b_o, seen.transpose(1, 2).reshape(rows * width, -1), w_o) + hidden
            x = functional.layer_norm(hidden, size, scale_2, shift_2, self._epsilon)
            x = functional.gelu(torch.addmm(b_up, x, w_up), approximate="tanh")
            hidden = hidden + torch.addmm(b_down, x, w_down)
        last = functional.layer_norm(hidden, size, self.ln_f.weight, self.ln_f.bias, self._epsilon)
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=last.view(rows, width, -1), past_key_values=past_key_values if use_cache else None
        )

    def _written_out(self) -> list[tuple[Tensor, ...]]:
        """Weights of each block, looked up once; none where they are sharded, for only modules gather their parts."""
        if self._blocks is None:
            sharded = any(isinstance(weight, DTensor) for weight in self.parameters())
            self._blocks = [] if sharded else [_weights(block) for block in self.h]
        return self._blocks


def _weights(block: Any) -> tuple[Tensor, ...]:
    attention, mlp = block.attn, block.mlp
    parts = (block.ln_1, attention.c_attn, attention.c_proj, block.ln_2, mlp.c_fc, mlp.c_proj)
    return tuple(each for part in parts for each in (part.weight, part.bias))


def _causal(seen: Tensor, width: int) -> Tensor:
    """``(R, 1, T, S)`` from what is no padding, ``(R, S)``: each of the last T tokens sees those and the past.

    A row of padding sees itself, against NaN.
    """
    mask = seen[:, None, None, :]
    if width == 1:
        return mask
    past = torch.ones(width, seen.shape[1], dtype=torch.bool, device=seen.device).tril(seen.shape[1] - width)
    own = torch.eye(width, dtype=torch.bool, device=seen.device)
    return mask & past | functional.pad(own, (seen.shape[1] - width, 0))


class TinyLM(GPT2LMHeadModel):  # type: ignore[no-untyped-call]
    """`transformers`' GPT-2 with its body written out; weights of either fit the other."""

    def __init__(self, config: Any) -> None:
        GPT2PreTrainedModel.__init__(self, config)
        self.transformer = Body(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]


def blank() -> Any:
    """The untrained model: 2 layers, width 64, 4 heads, learned positions, 0.1 M weights."""
    config = GPT2Config(
        vocab_size=len(CharTokenizer.ALPHABET), n_positions=64, n_embd=64, n_layer=2, n_head=4,
        activation_function="gelu_pytorch_tanh", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model: Any = TinyLM(config)
    return model.eval()


def base_file(base: str) -> Path:
    """The shipped weights of a base."""
    return Path(str(files("septet.empg") / "bases" / f"{base}.safetensors"))


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
    weights = {name: value.half() for name, value in model.state_dict().items() if name != "lm_head.weight"}
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
    for step in range(steps):
        wrong, fillers = 0.35 if step >= CLEAN * steps else 0.0, step >= PLAIN * steps
        rows, targets = [], []
        for index in draw.integers(len(questions.train), size=batch):
            problem = questions.train[index]
            if base == "steps":
                answer = demonstrate_steps(problem, draw, wrong=wrong, fillers=fillers)
            else:
                answer = demonstrate_chain(problem, draw, base)
            asked, told = tokenizer.encode(problem.prompt), tokenizer.encode(answer)
            rows.append(torch.tensor(asked + told))
            targets.append(torch.tensor([-100] * len(asked) + told))
        ids, labels = pad_sequence(rows, True, tokenizer.pad), pad_sequence(targets, True, -100)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50, (1 - step / steps) / fall if fall else 1.0)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()
