"""Networks of several seeds at once: one flat (S, P) tensor of parameters, batched matrix products.

The layout of a row is that of `septet.sampler.policy`: for each layer W (in, out) row-major, then b (out); at the end
the free parameters (a Gaussian policy's log-standard deviations).
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.seeding import stream

# Gradients are views of one buffer, so that the optimiser takes one step; torch finds their strides unusual.
warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")

Layers = list[tuple[Tensor, Tensor]]
Activation = Literal["tanh", "relu", "linear"]
Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int, int], tuple[Array, Array]]
"""(generator, layer, fan in, fan out) -> W (in, out), b (out)."""


@dataclass(frozen=True)
class Network:
    """Shape of a multi-layer perceptron and of the flat row that holds its parameters.

    Args:
        sizes: units of the input, of each hidden layer and of the output.
        activation: of the hidden layers; or one for each layer, the output's last.
        free: parameters at the end that belong to no layer.
    """

    sizes: tuple[int, ...]
    activation: Activation | tuple[Activation, ...] = "tanh"
    free: int = 0

    @property
    def size(self) -> int:
        """P, number of parameters."""
        return sum((i + 1) * o for i, o in self.shapes) + self.free

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(in, out) of each layer."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def activations(self) -> tuple[Activation, ...]:
        """Activation after each layer."""
        if isinstance(self.activation, tuple):
            return self.activation
        return (*(self.activation,) * (len(self.sizes) - 2), "linear")

    def split(self, flat: Tensor) -> tuple[Layers, Tensor]:
        """The layers ``[(W (S, in, out), b (S, out)), ...]`` and free parameters (S, free): views of `flat` (S, P)."""
        widths = [width for i, o in self.shapes for width in (i * o, o)]
        *parts, free = torch.split(flat, [*widths, self.free], dim=1)
        layers = [
            (parts[2 * k].view(len(flat), *shape), parts[2 * k + 1]) for k, shape in enumerate(self.shapes)
        ]  # one split: its gradient is one concatenation
        return layers, free

    def __call__(self, flat: Tensor, x: Tensor) -> Tensor:
        """Output (S, n, out) of the nets with parameters `flat` (S, P) on inputs `x` (S, n, in)."""
        return mlp(self.split(flat)[0], x, self.activations)


def mlp(layers: Layers, x: Tensor, activations: Sequence[Activation]) -> Tensor:
    """Multi-layer perceptrons of S seeds: h <- act(h W + b), from x (S, n, in) to (S, n, out)."""
    for (weight, bias), activation in zip(layers, activations, strict=True):
        x = torch.baddbmm(bias.unsqueeze(1), x, weight)
        if activation == "tanh":
            x = torch.tanh(x)
        elif activation == "relu":
            x = torch.relu(x)
    return x


class Parameters:
    """Parameters (S, P) of a network with a leaf per layer, for many quick gradient steps.

    The leaves are views of `flat` and their gradients are views of `gradient`, so that back-propagation fills one
    buffer and the optimiser takes one step over one tensor. For second derivatives use the network on `flat` itself.
    """

    checkpointed = ("flat",)

    def __init__(self, network: Network, flat: Tensor) -> None:
        self.network, self.flat, self.gradient = network, flat, torch.zeros_like(flat)
        layers, free = network.split(flat)
        places, place = network.split(self.gradient)
        self.layers: Layers = [
            (_leaf(weight, dweight), _leaf(bias, dbias))
            for (weight, bias), (dweight, dbias) in zip(layers, places, strict=True)
        ]
        self.free = _leaf(free, place)

    def __call__(self, x: Tensor) -> Tensor:
        """Output (S, n, out) on inputs x (S, n, in), differentiable in the leaves."""
        return mlp(self.layers, x, self.network.activations)


def backward(loss: Tensor, *parameters: Parameters) -> None:
    """Fill the gradient of each of `parameters` with that of a scalar loss (a sum over seeds keeps seeds apart)."""
    for each in parameters:
        each.gradient.zero_()
    torch.autograd.backward([loss])


def initial(network: Network, root: int, name: Sequence[str | int], seeds: Sequence[int], draw: Draw) -> Tensor:
    """Initial parameters (S, P) float32; row i depends on its seed alone: ``stream(root, "init", *name, seed)``."""
    rows = []
    for seed in seeds:
        rng = stream(root, "init", *name, seed)
        parts = [part for k, shape in enumerate(network.shapes) for part in draw(rng, k, *shape)]
        rows.append(np.concatenate([*(part.ravel() for part in parts), np.zeros(network.free)]))
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def orthogonal(gains: Sequence[float]) -> Draw:
    """Draw orthogonal weights with one gain per layer, biases zero (Saxe et al. 2014)."""

    def draw(rng: np.random.Generator, layer: int, fan_in: int, fan_out: int) -> tuple[Array, Array]:
        tall = rng.standard_normal((max(fan_in, fan_out), min(fan_in, fan_out)))
        q, r = np.linalg.qr(tall)
        q *= np.sign(np.diag(r))  # uniform over the orthogonal matrices
        return gains[layer] * (q if fan_in >= fan_out else q.T), np.zeros(fan_out)

    return draw


def _leaf(view: Tensor, gradient: Tensor) -> Tensor:
    leaf = view.detach().requires_grad_()
    leaf.grad = gradient
    return leaf
