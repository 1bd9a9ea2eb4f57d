"""The tiny model's written-out pass against the GPT-2 of `transformers`."""

from typing import Any

import pytest
import torch
from transformers import DynamicCache, GPT2LMHeadModel, GPT2Model

from septet.empg import tiny

BASE = tiny.base_file("warm")
SIZE = tiny.blank().config.vocab_size


@pytest.fixture
def both() -> tuple[Any, Any]:
    """The tiny model, and the same weights in the library's class."""
    ours = tiny.load(BASE)
    library = GPT2LMHeadModel(ours.config).eval()
    library.load_state_dict(ours.state_dict())
    return ours, library


def masks(rows: int, width: int) -> dict[str, torch.Tensor | None]:
    tree = (torch.rand(rows, 1, width, width) < 0.5) & torch.ones(width, width, dtype=torch.bool).tril()
    columns = torch.arange(width)
    return {
        "none": None,
        "end": columns < torch.arange(width - rows + 1, width + 1)[:, None],
        "start": columns >= torch.arange(rows)[:, None],
        "tree": tree | torch.eye(width, dtype=torch.bool),
    }


@pytest.mark.parametrize("kind", ["none", "end", "start", "tree"])
def test_states_and_gradients_are_the_librarys(both: tuple[Any, Any], kind: str) -> None:
    torch.manual_seed(3)
    ids = torch.randint(SIZE, (5, 12))
    positions = torch.arange(12).expand(5, 12)
    mask = masks(5, 12)[kind]
    own = torch.ones(5, 12, dtype=torch.bool) if mask is None or mask.dim() == 4 else mask
    found = []
    for lm in both:
        arguments = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "use_cache": False}
        states = lm.base_model(**arguments).last_hidden_state[own]
        lm.get_output_embeddings()(states).square().mean().backward()
        found.append([states, *(weight.grad for weight in lm.parameters())])
    for ours, library in zip(*found, strict=True):
        torch.testing.assert_close(ours, library, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ragged", [False, True])
@torch.inference_mode()
def test_tokens_after_others_are_the_librarys(both: tuple[Any, Any], ragged: bool) -> None:
    torch.manual_seed(4)
    ids = torch.randint(SIZE, (4, 9))
    gone = torch.arange(4) if ragged else torch.zeros(4, dtype=torch.long)
    seen = torch.arange(9) >= gone[:, None]
    positions = (torch.arange(9) - gone[:, None]).clamp(min=0)
    found = []
    for lm in both:
        cache, states = DynamicCache(config=lm.config), []
        for first, last in ((0, 4), (4, 6), (6, 7), (7, 8), (8, 9)):
            made = lm.base_model(
                input_ids=ids[:, first:last],
                attention_mask=seen[:, :last] if ragged else None,
                position_ids=positions[:, first:last],
                past_key_values=cache,
                use_cache=True,
            )
            assert made.past_key_values is cache
            states.append(made.last_hidden_state)
        found.append(torch.cat(states, 1)[seen])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_the_trainers_calls_do_not_go_through_the_library(
    both: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("the library's pass")

    monkeypatch.setattr(GPT2Model, "forward", refused)
    ids = torch.randint(SIZE, (2, 5))
    positions = torch.arange(5).expand(2, 5)
    both[0].base_model(input_ids=ids, attention_mask=None, position_ids=positions, use_cache=False)
    with pytest.raises(AssertionError, match="library"):
        both[0](input_ids=ids)


@torch.inference_mode()
def test_what_the_trainer_does_not_ask_for_goes_the_librarys_way(both: tuple[Any, Any]) -> None:
    torch.manual_seed(5)
    ids = torch.randint(SIZE, (3, 6))
    found = [
        (
            lm(input_ids=ids, output_hidden_states=True).hidden_states[1],
            lm.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False, pad_token_id=0
            ),
        )
        for lm in both
    ]
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
