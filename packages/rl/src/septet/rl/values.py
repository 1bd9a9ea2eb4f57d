"""Value nets: least squares on returns in mini-batches."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.errors import InputError
from septet.rl import kernels
from septet.rl.networks import Network, Parameters, backward
from septet.rl.optimisers import Adam


def update(value: Parameters, optimiser: Adam, x: Tensor, target: Tensor, order: NDArray[np.int64], batch: int) -> None:
    """Minimise mean (V(x) - R)² in mini-batches by automatic differentiation: the reference of `fit`.

    Args:
        value: parameters, changed in place.
        optimiser: on its flat tensor.
        x: (S, n, in).
        target: R, (S, n).
        order: (S, epochs, used), rows in the order of their use.
        batch: samples in a mini-batch.
    """
    seeds = torch.arange(len(order)).unsqueeze(1)
    for epoch in torch.from_numpy(order).unbind(1):
        for rows in torch.split(epoch, batch, dim=1):
            errors = value(x[seeds, rows]).squeeze(2) - target[seeds, rows]
            backward(errors.square().mean(1).sum(), value)
            optimiser.step()


def need_tanh(network: Network) -> None:
    """Raise an InputError unless the hidden layers are tanh and the output is linear: what `kernels` compute."""
    *hidden, output = network.activations
    if output != "linear" or not {"tanh"}.issuperset(hidden):
        raise InputError("kernels: activation", expected="tanh, and a linear output", found=network.activation)


def fit(
    value: Parameters,
    optimiser: Adam,
    x: Sequence[Tensor],
    target: Sequence[Tensor],
    order: Sequence[NDArray[np.int64]],
    batch: Sequence[int],
    done: Sequence[int],
    threads: int = 1,
) -> NDArray[np.float64]:
    """Minimise mean (V(x) - R)² in mini-batches, each seed on its own samples; tanh nets only.

    Args:
        value: parameters, changed in place.
        optimiser: on its flat tensor; its own count of steps is left alone.
        x: for each seed (n, in).
        target: R, for each seed (n,).
        order: for each seed (epochs, used), rows in the order of their use.
        batch: for each seed, samples in a mini-batch.
        done: for each seed, Adam steps before this call.
        threads: over which the seeds are divided; they change no bit.

    Returns:
        Mean squared error over the mini-batches, (S,).

    Raises:
        InputError: an array that does not fit, a list that has not one item per seed, or another net.
    """
    need_tanh(value.network)
    for name, given in (("x", x), ("target", target), ("order", order), ("batch", batch), ("done", done)):
        if len(given) != len(value.flat):
            raise InputError(f"fit: {name}", expected=f"one of each of the {len(value.flat)} seeds", found=len(given))

    def one(s: int) -> float:
        return kernels.value_epochs(
            value.network.sizes,
            value.flat[s].numpy(),
            optimiser.mean[s].numpy(),
            optimiser.square[s].numpy(),
            x[s].contiguous().numpy(),
            target[s].contiguous().numpy(),
            order[s],
            batch[s],
            done[s],
            optimiser.rate,
            optimiser.eps,
        )

    with ThreadPoolExecutor(threads) as pool:
        return np.array(list(pool.map(one, range(len(order)))))
