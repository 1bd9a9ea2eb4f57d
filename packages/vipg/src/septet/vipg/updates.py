"""V-VPG, V-TRPO, V-PPO and the Stein baselines: one update of the sampler from one iteration (section 2.4)."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from septet.rl.trust_region import conjugate_gradient, fisher_product, line_search, step_length
from septet.vipg.adam import Moments, ascend
from septet.vipg.config import PPO, TRPO, VPG
from septet.vipg.objective import pathwise, score_function
from septet.vipg.samplers import Particles
from septet.vipg.stein import direction
from septet.vipg.surrogate import Surrogate


def gradient(problem: Surrogate, method: VPG | TRPO | PPO, value: Tensor) -> Tensor:
    """Ascent direction (R, Q + A) at the old parameters: equation 3, or what a baseline has in its place.

    Args:
        value: mean return of each particle's episodes, divided by the unit of the objective, (R, K).
    """
    drive, of_log_std = problem.drive()
    sampler, alpha = problem.sampler, problem.alpha
    phi = problem.old[:, : sampler.size]
    if method.gradient == "stein":
        theta = sampler(phi, problem.xi)[0].detach()
        score = drive - alpha[:, None, None] * theta / problem.prior_scale**2
        moved = direction(theta, score, alpha)
        own = (
            moved.flatten(1) if isinstance(sampler, Particles) else pathwise(sampler, phi, problem.xi, moved, 0.0, 1.0)
        )
    elif method.gradient == "score":
        own = score_function(sampler, phi, problem.xi, value)
        own = own + pathwise(sampler, phi, problem.xi, torch.zeros_like(drive), alpha, problem.prior_scale)
    elif isinstance(sampler, Particles):
        own = (drive / sampler.count).flatten(1)
    else:
        own = pathwise(sampler, phi, problem.xi, drive, alpha, problem.prior_scale)
    return torch.cat([own, of_log_std], dim=1)


def curvature(problem: Surrogate, states: int, damping: float) -> Callable[[Tensor], Tensor]:
    r"""Product with :math:`F_\phi = E_\xi[J^\top (F_\theta + \lambda I) J]`, J = dh/dphi.

    Tangents go forward through the sampler, through the Fisher matrix of each particle, and back: at the old
    parameters this is the Hessian of D, without a second back-propagation. The damping is that of the policies'
    weights, so centre and log-scales are damped alike.

    Args:
        states: per row, taken evenly from each particle's samples.
        damping: lambda.

    Returns:
        v (R, Q + A) -> F v.
    """
    batch = problem.batch
    count = len(batch.valid) // problem.rows
    each = max(states // count, 2)
    length = batch.valid.sum(1)
    places = torch.linspace(0.0, 1.0, each).unsqueeze(0) * (length - 1.0).unsqueeze(1)
    x = torch.gather(batch.observation, 1, places.long().unsqueeze(2).expand(-1, -1, batch.observation.shape[2]))
    flat = problem.policies(problem.old)[0].detach()
    fisher = fisher_product(problem.network, flat, x, damping)

    def mapped(parameters: Tensor) -> Tensor:
        return problem.policies(parameters)[0]

    _, pull = torch.func.vjp(mapped, problem.old)  # type: ignore[misc]

    def product(v: Tensor) -> Tensor:
        _, tangent = torch.func.jvp(mapped, (problem.old,), (v,))  # type: ignore[misc]
        (out,) = pull(fisher(tangent) / count)
        return torch.as_tensor(out)

    return product


def natural_step(problem: Surrogate, method: TRPO, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One trust-region step for all parameters: CG, step to the boundary, back-track on the merit.

    Args:
        slope: gradient of the merit (R, Q + A).

    Returns:
        New parameters, the share of the full step that was taken (R,), 0 for none, and how far it went, D (R,).
    """
    if not bool(slope.any()):  # no reward was seen
        return problem.old.clone(), torch.zeros(problem.rows), torch.zeros(problem.rows)
    product = curvature(problem, method.states, method.damping)
    s = conjugate_gradient(product, slope, method.cg_steps)
    s = frozen(problem, s) if method.freeze_sigma else s
    full = step_length(s, product(s), method.target_kl).unsqueeze(1) * s

    def evaluate(candidate: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        whole = problem.old.clone()  # a row's noise and samples are its own: those of all rows are computed
        whole[rows] = candidate
        merit, far = problem.evaluate(whole, method.merit)
        return -merit[rows], far[rows]

    with torch.no_grad():
        base = -problem.merit_before(method.merit)
        return line_search(
            evaluate, problem.old, full, base, method.target_kl, method.backtrack_ratio, method.line_search_steps
        )


def frozen(problem: Surrogate, slope: Tensor) -> Tensor:
    """The gradient with zeros for the log-scales: parameter noise of fixed size."""
    d = problem.sampler.weights
    return torch.cat([slope[:, :d], torch.zeros_like(slope[:, d : 2 * d]), slope[:, 2 * d :]], dim=1)


def shared(problem: Surrogate) -> slice | None:
    """Columns with one second moment: the log-scales."""
    d = problem.sampler.weights
    return None if isinstance(problem.sampler, Particles) else slice(d, 2 * d)


def rates(problem: Surrogate, method: VPG | PPO) -> Tensor:
    """Adam's rate of each parameter (Q + A,)."""
    rate = torch.full((problem.old.shape[1],), method.learning_rate)
    if (columns := shared(problem)) is not None:
        rate[columns] *= method.scale_lr_multiplier
    return rate


def update(
    problem: Surrogate,
    method: VPG | TRPO | PPO,
    moments: Moments,
    value: Tensor,
    shuffles: Sequence[np.random.Generator],
) -> tuple[Tensor, Moments, dict[str, Tensor]]:
    """New parameters (R, Q + A), the ascent's state, and diagnostics (R,): divergence of old and new policies.

    Args:
        value: mean return of each particle's episodes, divided by the unit of the objective, (R, K).
        shuffles: a generator for the mini-batches of each row.
    """
    found: dict[str, Tensor] = {}
    if isinstance(method, PPO):
        parameters, moments, found["kl"] = proximal(problem, method, moments, shuffles)
    else:
        slope = gradient(problem, method, value)
        slope = frozen(problem, slope) if method.freeze_sigma else slope
        if isinstance(method, TRPO):
            parameters, found["step"], found["kl"] = natural_step(problem, method, slope)
        else:
            parameters, moments = ascend(problem.old, slope, moments, rates(problem, method), shared(problem))
            with torch.no_grad():
                found["kl"] = problem.evaluate(parameters, "surrogate")[1]
    return parameters, moments, found


def shuffled(problem: Surrogate, parts: int, shuffles: Sequence[np.random.Generator]) -> tuple[Surrogate, int]:
    """The problem with its samples in mini-batches, and the columns of one.

    Each policy's samples are shuffled and dealt to `parts` blocks of equal width; what a block lacks is zeros that
    do not count. A row depends on its own samples and generator alone.
    """
    valid = problem.batch.valid
    policies, columns = valid.shape
    lengths = valid.sum(1).long().tolist()
    block = -(-columns // parts)
    order = np.full((policies, parts * block), columns)
    count = policies // problem.rows
    for m, length in enumerate(lengths):
        mixed = shuffles[m // count].permutation(length)
        for part, some in enumerate(np.array_split(mixed, parts)):
            order[m, part * block : part * block + len(some)] = some
    index = torch.from_numpy(order)

    def dealt(values: Tensor) -> Tensor:
        padded = torch.cat([values, torch.zeros_like(values[:, :1])], dim=1)
        return padded[torch.arange(policies).unsqueeze(1), index]

    batch = type(problem.batch)(*(dealt(each) for each in problem.batch))
    return replace(problem, batch=batch, advantage=dealt(problem.advantage)), block


def proximal(
    problem: Surrogate, method: PPO, moments: Moments, shuffles: Sequence[np.random.Generator]
) -> tuple[Tensor, Moments, Tensor]:
    """Epochs of mini-batch steps on the clipped surrogate; a row stops once D > 1.5 delta (section 2.4).

    Samples of a policy are dealt to mini-batches once an iteration. Returns parameters, the ascent's state, and D (R,).
    """
    mixed, block = shuffled(problem, method.minibatches, shuffles)
    parameters = problem.old.clone()
    active, rate = torch.ones(problem.rows, dtype=torch.bool), rates(problem, method)
    for _ in range(method.epochs):
        for first in range(0, method.minibatches * block, block):
            leaf = parameters.detach().requires_grad_()
            (slope,) = torch.autograd.grad(
                mixed.clipped(leaf, method.clip_range, slice(first, first + block)).sum(), leaf
            )
            slope = frozen(problem, slope) if method.freeze_sigma else slope
            parameters, moments = ascend(parameters, slope, moments, rate, shared(problem), active)
        with torch.no_grad():
            far = problem.evaluate(parameters, "surrogate")[1]
            active = active & (far <= 1.5 * method.target_kl)
        if not bool(active.any()):
            break
    return parameters, moments, far
