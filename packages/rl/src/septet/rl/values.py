"""Value nets: least squares on returns in mini-batches."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from septet.arrays import checked
from septet.compiled import compiled
from septet.errors import InputError
from septet.rl.adam import scaled_adam
from septet.rl.dense import backward, forward, weight_gradient
from septet.rl.networks import Network, Parameters
from septet.rl.optimisers import Adam
from septet.rl.shapes import Float32, Net, Tape, net, sides, tape, tape_spec


def tanh_net(network: Network) -> Net:
    """The shape of a network for compiled training.

    Raises:
        InputError: hidden layers that are not tanh, or an output that is not linear.
    """
    *hidden, output = network.activations
    if output != "linear" or not {"tanh"}.issuperset(hidden):
        raise InputError("network: activation", expected="tanh, and a linear output", found=network.activation)
    return net(network.sizes, tanh=True)


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
    shape = tanh_net(value.network)
    for name, given in (("x", x), ("target", target), ("order", order), ("batch", batch), ("done", done)):
        if len(given) != len(value.flat):
            raise InputError(f"fit: {name}", expected=f"one of each of the {len(value.flat)} seeds", found=len(given))

    def one(s: int) -> float:
        w, mean, square = (part[s].numpy() for part in (value.flat, optimiser.mean, optimiser.square))
        seen, wanted = (part[s].contiguous().numpy() for part in (x, target))
        rate, eps, room = optimiser.rate, optimiser.eps, tape(shape, batch[s])
        return value_epochs(w, shape, mean, square, seen, wanted, order[s], batch[s], room, done[s], rate, eps)

    with ThreadPoolExecutor(threads) as pool:
        return np.array(list(pool.map(one, range(len(order)))))


@checked(
    sides,
    w="out f4 P",
    shape=Net,
    m="out f4 P",
    v="out f4 P",
    observation="f4 N>0 F",
    target="f4 N",
    order="i8 K>0 M>0 < N",
    batch="int 1",
    tape=tape_spec("batch"),
    first="int 0",
    rate="float",
    eps="float",
)
@compiled(reassociate=True, nogil=True, uses=("septet.sampler",))
def value_epochs(
    w: Float32,
    shape: Net,
    m: Float32,
    v: Float32,
    observation: Float32,
    target: Float32,
    order: NDArray[np.int64],
    batch: int,
    tape: Tape,
    first: int,
    rate: float,
    eps: float,
) -> float:
    """Least squares of one seed's value net in mini-batches, compiled.

    Args:
        w: flat parameters; m, v: Adam's moments; changed in place.
        shape: of the net.
        observation: (n, in), normalised; target: (n,).
        order: (epochs, used), rows of an epoch's samples one after the other.
        batch: samples in a mini-batch; the last one of an epoch may be smaller.
        tape: room for a pass of a mini-batch.
        first: Adam steps before this call; rate, eps: Adam's.

    Returns:
        Mean over the mini-batches of the mean squared error.
    """
    d = observation.shape[1]
    x, values = np.empty(batch * d, np.float32), np.empty((batch, 1), np.float32)
    loss, steps = 0.0, 0
    for epoch in range(order.shape[0]):
        for start in range(0, order.shape[1], batch):
            rows = order[epoch, start : min(start + batch, order.shape[1])]
            b = rows.size
            for r in range(b):
                for i in range(d):
                    x[r * d + i] = observation[rows[r], i]
            seen, out = x[: b * d].reshape(b, d), values[:b]
            forward(w, shape, seen, tape, out, False)
            square = 0.0
            for r in range(b):
                error = out[r, 0] - target[rows[r]]
                square += error * error
                out[r, 0] = 2.0 * error / b
            backward(w, shape, tape, out, 0)
            weight_gradient(w, shape, seen, tape, out)
            steps += 1
            scaled_adam(w, tape.gradient, m, v, first + steps, rate, 1.0, eps)
            loss += square / b
    return loss / steps
