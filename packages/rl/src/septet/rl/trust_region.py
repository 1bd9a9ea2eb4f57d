"""Trust-region steps for S seeds at once: conjugate gradient, curvature products, line search.

Everything is a pure function of tensors with a leading seed axis; seeds never mix.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from septet.rl.lockstep import square_root
from septet.rl.networks import Network

Product = Callable[[Tensor], Tensor]
"""v (S, P) -> A v (S, P), for one symmetric matrix A per seed."""


def conjugate_gradient(product: Product, b: Tensor, steps: int, tolerance: float = 1e-10) -> Tensor:
    """Solve A x = b for each seed, from x = 0; a seed whose squared residual is below `tolerance` stays as it is.

    Hestenes and Stiefel 1952; Nocedal and Wright, algorithm 5.2.

    Args:
        product: v -> A v.
        b: right-hand sides (S, P).
        steps: largest number of products.
        tolerance: of |b - A x|².

    Returns:
        x (S, P).
    """
    x, r, p = torch.zeros_like(b), b.clone(), b.clone()
    square = (r * r).sum(1)
    for _ in range(steps):
        active = square >= tolerance
        if not active.any():
            break
        a_p = product(p)
        curvature = (p * a_p).sum(1)
        step = torch.where(active, square / curvature, 0.0).unsqueeze(1)
        x = x + step * p
        r = r - step * a_p
        smaller = torch.where(active, (r * r).sum(1), square)
        p = torch.where(active.unsqueeze(1), r + (smaller / square).unsqueeze(1) * p, p)
        square = smaller
    return x


def fisher_product(network: Network, flat: Tensor, x: Tensor, damping: float = 0.0, block: int = 2048) -> Product:
    """Product with the Fisher matrix of a Gaussian policy, averaged over states, plus damping.

        F v = 1/n sum_i J_i' diag(1 / s²) J_i v  for the layers,  2 v  for log s

    with J_i the Jacobian of the mean at x_i: one forward pass of tangents and one backward pass, from
    activations that are kept. At the sampling policy it is the Hessian of the mean KL divergence.
    Schulman et al. 2015, appendix C.

    Args:
        network: the policy's; its free parameters are log s.
        flat: parameters (S, P).
        x: states (S, n, in).
        damping: multiple of the identity to add.
        block: states in one matrix product, so that what lies between two layers stays in the cache.

    Returns:
        v (S, P) -> (F + damping I) v.
    """
    flat = flat.detach()
    log_std = network.split(flat)[1]
    precision = (-2.0 * log_std).exp().unsqueeze(1) / x.shape[1]
    parts = [_gauss_newton(network, flat, part, precision) for part in torch.split(x, block, dim=1)]

    def product(v: Tensor) -> Tensor:
        out = damping * v
        network.split(out)[1].add_(network.split(v)[1], alpha=2.0)
        for add in parts:
            add(v, out)
        return out

    return product


def _gauss_newton(network: Network, flat: Tensor, x: Tensor, precision: Tensor) -> Callable[[Tensor, Tensor], None]:
    """(v, out) -> out += sum_i J_i' diag(precision) J_i v over the layers."""
    layers = network.split(flat)[0]
    inputs = [x]
    slopes: list[Tensor | None] = []  # derivative of each layer's activation
    for (weight, bias), activation in zip(layers, network.activations, strict=True):
        h = torch.baddbmm(bias.unsqueeze(1), inputs[-1], weight)
        if activation == "tanh":
            h = h.tanh_()
        elif activation == "relu":
            h = h.relu_()
        slopes.append({"tanh": 1.0 - h * h, "relu": (h > 0).to(h.dtype)}.get(activation))
        inputs.append(h)

    def add(v: Tensor, out: Tensor) -> None:
        t: Tensor | None = None
        for k, (d_weight, d_bias) in enumerate(network.split(v)[0]):
            z = torch.baddbmm(d_bias.unsqueeze(1), inputs[k], d_weight)
            t = z if t is None else z.baddbmm_(t, layers[k][0])
            if (slope := slopes[k]) is not None:
                t = t.mul_(slope)
        assert t is not None  # a network has a layer
        delta = t.mul_(precision)
        places = network.split(out)[0]
        for k in reversed(range(len(layers))):
            if (slope := slopes[k]) is not None:
                delta = delta.mul_(slope)
            places[k][0].add_(torch.bmm(inputs[k].mT, delta))
            places[k][1].add_(delta.sum(1))
            if k:
                delta = torch.bmm(delta, layers[k][0].mT)

    return add


def kl_hessian_product(divergence: Callable[[Tensor], Tensor], flat: Tensor, damping: float = 0.0) -> Product:
    """Product with the Hessian of a mean KL divergence at any w, by back-propagation through its gradient.

        H v = d/dw (dD(w)/dw . v)

    Pearlmutter 1994. The gradient's graph is kept, so each product is one more backward pass.

    Args:
        divergence: w (S, P) -> D (S,), differentiable twice.
        flat: w (S, P), where the Hessian is taken.
        damping: multiple of the identity to add.

    Returns:
        v (S, P) -> (H + damping I) v.
    """
    w = flat.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(divergence(w).sum(), w, create_graph=True)

    def product(v: Tensor) -> Tensor:
        (out,) = torch.autograd.grad(gradient, w, grad_outputs=v, retain_graph=True)
        return out.add_(v, alpha=damping) if damping else out

    return product


def step_length(direction: Tensor, curvature: Tensor, target_kl: float) -> Tensor:
    """Length (S,) of the step along s (S, P) at which the quadratic model of the KL divergence is `target_kl`.

        beta = sqrt(2 delta / (s' A s))

    Args:
        direction: s (S, P).
        curvature: A s (S, P).
        target_kl: delta.

    Returns:
        beta; 0 where s' A s is not positive, so that the seed stays where it is.
    """
    square = (direction * curvature).sum(1)
    good = square > 0.0
    return torch.where(good, square_root(2.0 * target_kl / torch.where(good, square, 1.0)), 0.0)


def line_search(
    evaluate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    flat: Tensor,
    step: Tensor,
    loss: Tensor,
    target_kl: float,
    backtrack_ratio: float,
    line_search_steps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Back off from w + step until the loss falls inside the trust region, for each seed on its own.

    Tries w + backtrack_ratio^k step, k = 0 ... line_search_steps - 1, and takes the first with L < L(w) and
    D <= target_kl; a seed without one keeps w.

    Args:
        evaluate: (w (R, P), rows (R,)) -> losses (R,) and KL divergences (R,) of the seeds `rows`.
        flat: w (S, P).
        step: full steps (S, P).
        loss: L(w), (S,).
        target_kl: delta.
        backtrack_ratio: factor between two trials.
        line_search_steps: K.

    Returns:
        New parameters (S, P); the fraction of the step that was taken (S,), 0 for none; the KL divergence there (S,).
    """
    out, taken, divergence = flat.clone(), torch.zeros_like(loss), torch.zeros_like(loss)
    rows = torch.arange(len(flat))
    fraction = 1.0
    for _ in range(line_search_steps):
        candidate = flat[rows] + fraction * step[rows]
        new_loss, new_kl = evaluate(candidate, rows)
        good = (new_loss < loss[rows]) & (new_kl <= target_kl)  # false for NaN
        out[rows[good]], taken[rows[good]], divergence[rows[good]] = candidate[good], fraction, new_kl[good]
        rows = rows[~good]
        if not len(rows):
            break
        fraction *= backtrack_ratio
    return out, taken, divergence
