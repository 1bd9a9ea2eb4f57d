"""The method for use elsewhere: one update of a policy on a batch that you collected."""

import torch
from torch import Tensor

from septet.errors import InputError
from septet.rl.networks import Network
from septet.seeding import stream
from septet.svrpo.network_passes import CHUNK, Samples, forward, split
from septet.svrpo.problem import Problem
from septet.svrpo.svrpo import Inner, InnerSettings, inner_loop


def update(
    network: Network,
    w: Tensor,
    observation: Tensor,
    action: Tensor,
    advantage: Tensor,
    *,
    mini_batch: int,
    hessian_batch: int | None = None,
    settings: InnerSettings | None = None,
    seed: int = 0,
) -> Inner:
    """One iteration of section 2.5 on N samples: m variance-reduced Newton-CG steps inside one KL budget.

    Args:
        network: a Gaussian policy's: ``Network((O, *hidden, A), free=A)``, log s at the end.
        w: its parameters (P,), with which the samples were collected; not changed.
        observation: (N, O), scaled as the policy sees it.
        action: (N, A), before clipping.
        advantage: (N,); standardised here.
        mini_batch: b, samples of an inner gradient; divides N.
        hessian_batch: samples of a Hessian product; divides N; `mini_batch` if none.
        settings: of the inner loop; `steps` is m, `radius` the KL budget.
        seed: of the blocks.

    Returns:
        What the loop did; its `w` are the new parameters.

    Raises:
        InputError: shapes that do not fit, a block that does not divide N, or a number that is not finite.
    """
    settings = settings or InnerSettings()
    n, inputs, outputs = len(advantage), network.sizes[0], network.sizes[-1]
    given = {"w": w, "observation": observation, "action": action, "advantage": advantage}
    for (name, tensor), shape in zip(given.items(), [(network.size,), (n, inputs), (n, outputs), (n,)], strict=True):
        if tuple(tensor.shape) != shape:
            raise InputError(name, expected=f"shape {shape}", found=tuple(tensor.shape))
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(name, expected="finite numbers", found="NaN or infinity")
    blocks = {"mini_batch": mini_batch, "hessian_batch": hessian_batch or mini_batch}
    for name, size in blocks.items():
        if size < 1 or n % size:
            raise InputError(name, expected=f"a divisor of the {n} samples", found=size)
    layers, log_std = split(network, w.detach())
    mean = torch.cat([forward(layers, part)[1] for part in torch.split(observation, CHUNK)])
    standard = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
    rng = stream(seed, "update")
    order, hessian_order = (torch.from_numpy(rng.permutation(n)) for _ in range(2))
    samples = Samples(observation, action, standard.to(w.dtype), mean)
    small = blocks["hessian_batch"]
    problem = Problem(network, samples, log_std, order, hessian_order, block=mini_batch, hessian_block=small)
    first, second = (rng.integers(n // size, size=settings.steps) for size in blocks.values())
    return inner_loop(problem, w.detach().clone(), first, second, settings)
