"""The method for use elsewhere: one update of a policy on a batch that you collected."""

import torch
from torch import Tensor

from septet.errors import InputError
from septet.rl.networks import Network
from septet.seeding import stream
from septet.svrpo import config
from septet.svrpo.problem import finite_sum_of
from septet.svrpo.svrpo import Inner, inner_loop


def update(
    network: Network,
    w: Tensor,
    observation: Tensor,
    action: Tensor,
    advantage: Tensor,
    *,
    minibatch_size: int,
    steps: int = 20,
    hessian_batch: int | None = None,
    settings: config.InnerLoop | None = None,
    seed: int = 0,
) -> Inner:
    """One iteration of section 2.5 on N samples: m variance-reduced Newton-CG steps inside one KL budget.

    Args:
        network: a Gaussian policy's: ``Network((O, *hidden, A), free=A)``, log s at the end.
        w: its parameters (P,), with which the samples were collected; not changed.
        observation: (N, O), scaled as the policy sees it.
        action: (N, A), before clipping.
        advantage: (N,); standardised here.
        minibatch_size: b, samples of an inner gradient; divides N.
        steps: m, inner steps.
        hessian_batch: samples of a Hessian product; divides N; `minibatch_size` if none.
        settings: of the inner loop, `config.inner_loop(target_kl=0.01)`: the KL budget and more.
        seed: of the blocks.

    Returns:
        What the loop did; its `w` are the new parameters.

    Raises:
        InputError: shapes that do not fit, a block that does not divide N, or a number that is not finite.
    """
    settings = settings or config.inner_loop()
    n, inputs, outputs = len(advantage), network.sizes[0], network.sizes[-1]
    given = {"w": w, "observation": observation, "action": action, "advantage": advantage}
    for (name, tensor), shape in zip(given.items(), [(network.size,), (n, inputs), (n, outputs), (n,)], strict=True):
        if tuple(tensor.shape) != shape:
            raise InputError(name, expected=f"shape {shape}", found=tuple(tensor.shape))
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(name, expected="finite numbers", found="NaN or infinity")
    blocks = {"minibatch_size": minibatch_size, "hessian_batch": hessian_batch or minibatch_size}
    for name, size in blocks.items():
        if size < 1 or n % size:
            raise InputError(name, expected=f"a divisor of the {n} samples", found=size)
    w, rng = w.detach(), stream(seed, "update")
    small = blocks["hessian_batch"]
    problem = finite_sum_of(
        network, w, observation, action, advantage.double().numpy(), rng,
        block=minibatch_size, hessian_block=small, ratio=settings.ratio,
    )  # fmt: skip
    first, second = (rng.integers(n // size, size=steps) for size in blocks.values())
    return inner_loop(problem, w.clone(), first, second, settings)
