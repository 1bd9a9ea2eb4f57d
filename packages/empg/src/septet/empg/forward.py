"""Log-probabilities of given completions: prompts packed with their completions, batches by length.

A row holds one prompt and one or more of its completions, each of which sees the prompt and itself only
(a tree mask), so that the prompt is computed once. Where all prompts begin alike, a row goes on with further
prompts and their completions behind that common beginning. Rows stay below a limit, which long completions
reach alone: then the row is plainly causal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.empg.policy import Policy
from septet.empg.sample import Rollout, common


@dataclass(frozen=True)
class Row:
    """Completions packed behind their prompts."""

    members: list[int]
    """Indices of the completions; those of one prompt next to each other."""
    length: int
    """Tokens of the row. A completion's last token predicts nothing, so it is left out."""


@dataclass(frozen=True)
class PackedBatch:
    """Rows of about the same length, computed at once; arguments of `Policy.forward`, and where its results go."""

    members: Tensor
    """``(k,)``, the completions of this batch, in the order of the rollout."""
    ids: Tensor
    positions: Tensor
    mask: Tensor | None
    at: tuple[Tensor, Tensor]
    targets: Tensor
    to: tuple[Tensor, Tensor]
    """Rows (among `members`) and columns of the results in an array ``(k, L)``."""
    spare: bool = False
    """Computed to keep step with the other processes only: its results count for nothing."""

    def run(
        self, policy: torch.nn.Module, width: int, temperature: float = 1.0, entropy: bool = False
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """log pi, entropy and values of the batch's completions, each ``(k, width)`` with 0 on padding, or none."""
        found = policy(self.ids, self.positions, self.mask, self.at, self.targets, temperature, entropy)
        log_pi, spread, values = (None if flat is None else self._spread(flat, width) for flat in found)
        assert log_pi is not None
        return log_pi, spread, values

    def _spread(self, flat: Tensor, width: int) -> Tensor:
        return flat.new_zeros(len(self.members), width).index_put(self.to, flat)


def pack(
    lengths: Sequence[int], prompts: Sequence[int], samples: int, keep: Sequence[int], limit: int, begin: int = 0
) -> list[Row]:
    """Rows of at most `limit` tokens, the longest first; one with one completion may be longer.

    Args:
        lengths: tokens of each completion.
        prompts: tokens of each prompt.
        samples: N, completions of a prompt.
        keep: the completions that are wanted.
        limit: most tokens of a row.
        begin: tokens that all prompts begin with; if 0, each row has one prompt.
    """
    rows: list[Row] = []
    for k in keep:
        prompt, cost = k // samples, lengths[k] - 1
        last = rows[-1] if rows else None
        known = last is not None and last.members[-1] // samples == prompt
        more = cost if known else prompts[prompt] - begin + cost
        if last is not None and (known or begin) and last.length + more <= limit:
            rows[-1] = Row([*last.members, k], last.length + more)
        else:
            rows.append(Row([k], prompts[prompt] + cost))
    return sorted(rows, key=lambda row: -row.length)


def batches(
    rollout: Rollout,
    keep: Sequence[int] | None = None,
    *,
    row_tokens: int = 1024,
    batch_tokens: int = 16384,
    device: torch.device | str = "cpu",
    rounds: Callable[[int], int] | None = None,
) -> Iterator[PackedBatch]:
    """The completions of a rollout as batches.

    Args:
        keep: the completions that are wanted; none for all.
        row_tokens: most tokens of a row with several completions.
        batch_tokens: most tokens of a batch.
        device: where the arrays go.
        rounds: from the number of batches to that which all processes make, where a pass needs all of them;
            the shortest completion fills up.
    """
    lengths = rollout.lengths.tolist()
    wanted = [k for k in (range(len(lengths)) if keep is None else keep) if lengths[k]]  # an empty one has nothing
    begin = common(rollout.prompts)
    rows = pack(lengths, [len(prompt) for prompt in rollout.prompts], rollout.samples, wanted, row_tokens, begin)
    start = made = 0
    while start < len(rows):  # sorted by length: the first of a batch is what the others are padded to
        some = rows[start : start + max(1, batch_tokens // rows[start].length)]
        yield _assemble(rollout, some, begin, device)
        start, made = start + len(some), made + 1
    if rounds is not None and (missing := rounds(made) - made):
        k = lengths.index(min(filter(None, lengths)))
        row = Row([k], len(rollout.prompts[k // rollout.samples]) + lengths[k] - 1)
        yield from [replace(_assemble(rollout, [row], begin, device), spare=True)] * missing


def _assemble(rollout: Rollout, rows: list[Row], begin: int, device: torch.device | str) -> PackedBatch:
    width = rows[0].length
    ids, positions = np.zeros((2, len(rows), width), np.int64)
    family, branch = np.full((2, len(rows), width), -1)  # prompt and completion, from 1; 0 belongs to all; -1 padding
    members = sorted(k for row in rows for k in row.members)
    place = {k: index for index, k in enumerate(members)}
    tokens, lengths, count = rollout.tokens.numpy(), rollout.lengths.tolist(), np.arange(width + 1)

    def put(r: int, start: int, what: Any, position: int, prompt: int, completion: int) -> int:
        end = start + len(what)
        ids[r, start:end], positions[r, start:end] = what, count[position : position + len(what)]
        family[r, start:end], branch[r, start:end] = prompt, completion
        return end

    at_column, targets, to_column = [], [], []
    for r, row in enumerate(rows):
        end = put(r, 0, rollout.prompts[row.members[0] // rollout.samples][:begin], 0, 0, 0)
        for number, k in enumerate(row.members):
            asked = k // rollout.samples
            prompt, n = rollout.prompts[asked], lengths[k]
            if number == 0 or row.members[number - 1] // rollout.samples != asked:
                end = put(r, end, prompt[begin:], begin, asked + 1, 0)
                last = end - 1
            start, end = end, put(r, end, tokens[k, : n - 1], len(prompt), asked + 1, k + 1)
            at_column += [count[last : last + 1], count[start:end]]
            targets.append(tokens[k, :n])
            to_column.append(count[:n])
    sizes = [lengths[k] for row in rows for k in row.members]
    at_row = np.repeat([r for r, row in enumerate(rows) for _ in row.members], sizes)
    to_row = np.repeat([place[k] for row in rows for k in row.members], sizes)

    def there(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    mask: Tensor | None = None
    if any(len(row.members) > 1 for row in rows):
        mask = _tree(there(family), there(branch))
    elif rows[-1].length < width:
        mask = there(branch >= 0)
    return PackedBatch(
        members=torch.tensor(members),
        ids=there(ids),
        positions=there(positions),
        mask=mask,
        at=(there(at_row), there(np.concatenate(at_column))),
        targets=there(np.concatenate(targets)),
        to=(there(to_row), there(np.concatenate(to_column))),
    )


def _tree(family: Tensor, branch: Tensor) -> Tensor:
    """Who sees whom: the past of one's own completion, of its prompt and of the prompts' common beginning.

    Padding sees itself, against NaN.
    """
    width = family.shape[1]
    past = torch.ones(width, width, dtype=torch.bool, device=family.device).tril()
    related = family[:, :, None] == family[:, None, :]
    own = related & ((branch[:, :, None] == branch[:, None, :]) | (branch == 0)[:, None, :])
    sees = past & (own | (family == 0)[:, None, :])
    return (sees | torch.eye(width, dtype=torch.bool, device=family.device))[:, None]


@torch.no_grad()
def log_probabilities(
    policy: Policy,
    rollout: Rollout,
    keep: Sequence[int] | None = None,
    *,
    temperature: float = 1.0,
    row_tokens: int = 1024,
    batch_tokens: int = 16384,
    rounds: Callable[[int], int] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """log pi and values without gradients, each ``(K, L)``, 0 on padding and on completions that are not in `keep`."""
    device = next(policy.parameters()).device
    width = rollout.tokens.shape[1]
    log_pi = torch.zeros(len(rollout.tokens), width)
    values = torch.zeros_like(log_pi) if policy.critic is not None else None
    room = policy.room(row_tokens, batch_tokens)
    for batch in batches(rollout, keep, **room, device=device, rounds=rounds):
        found, _, value = batch.run(policy, width, temperature)
        if batch.spare:
            continue
        log_pi[batch.members] = found.cpu()
        if values is not None and value is not None:
            values[batch.members] = value.cpu()
    return log_pi, values
