"""The method: SVRG gradients on a collected batch, each fed to a Newton-CG step inside one KL budget (section 2).

The same loop runs the controls of section 5: what differs is where the gradient comes from and how many steps there
are. TRPO is the full gradient, one step, and the ratio surrogate.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.rl.lockstep import square_root
from septet.rl.trust_region import Product, conjugate_gradient, line_search
from septet.svrpo.config import Gradient, InnerLoop
from septet.svrpo.problem import FiniteSum

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Inner:
    """What an inner loop of m steps did."""

    w: Tensor
    """Parameters (P,)."""
    snapshot_gradient: Tensor
    """g~, (P,)."""
    mean_gradient: Tensor
    """Mean of the gradients v of the steps that were made, (P,)."""
    kl: Array
    """Mean KL divergence after each step, (m,)."""
    decrease: Array
    """F(w~) - F(w) after each step, (m,)."""
    accepted: Array
    """1 where the line search found a step, (m,)."""
    made: Array
    """1 where the step was tried at all, (m,)."""
    trials: Array
    """Full-batch evaluations of each line search, (m,)."""
    products: Array
    """Hessian products of each step, (m,)."""
    largest_kl: float
    """Largest KL divergence of a state at the end."""
    iterates: list[Tensor]
    """w (P,) before each step, if they were asked for."""


def control_variate(at_w: Tensor, at_snapshot: Tensor, full: Tensor) -> Tensor:
    """SVRG gradient of section 2.2.

        v = dF_B(w) - dF_B(w~) + dF(w~)

    The separate methods of section 5 have the same rule for B new trajectories tau ~ pi(theta_t):

        SVRPG:    v = g(tau; theta_t) - omega g(tau; theta~) + g_N(theta~)             Papini et al. 2018, algorithm 1
        SRVR-PG:  v_t = g(tau; theta_t) - omega g(tau; theta_{t-1}) + v_{t-1}          Xu, Gao and Gu 2020, algorithm 1

    Args:
        at_w: gradient on the mini-batch at w, (P,).
        at_snapshot: gradient on the same mini-batch at the snapshot w~, (P,); of trajectories, weighted by
            omega = p(tau; theta~) / p(tau; theta_t).
        full: gradient on the whole batch at w~, (P,).
    """
    return at_w - at_snapshot + full


def inner_gradient(
    problem: FiniteSum, w: Tensor, block: int, kind: Gradient, at_snapshot: Tensor, full: Tensor
) -> Tensor:
    """Gradient v (P,) of an inner step at w (P,), section 2.2; of the controls, section 5.

    Args:
        problem: the batch.
        w: where it is taken, (P,).
        block: the mini-batch.
        kind: control variate, mini-batch alone, or whole batch.
        at_snapshot: gradients at the snapshot on every block, (K, P).
        full: gradient at the snapshot on the whole batch, (P,).
    """
    if kind == "full":
        return problem.full_gradient(w)
    v = problem.block_gradient(w, block)
    return control_variate(v, at_snapshot[block], full) if kind == "svrg" else v


def newton_step(product: Product, gradient: Tensor, target_kl: float, cg_steps: int) -> Tensor:
    """Proposed step of section 2.3; zero for a seed with s' H s <= 0, where the model has no minimum (section 6).

        H s = v by conjugate gradient,   step = -beta s,   beta = sqrt(2 delta / (s' H s + 1e-8))

    Args:
        product: u (S, P) -> H u.
        gradient: v (S, P).
        target_kl: delta.
        cg_steps: largest number of conjugate-gradient steps.
    """
    s = conjugate_gradient(product, gradient, cg_steps, tolerance=1e-10)
    square = (s * product(s)).sum(1)
    good = square > 0.0
    beta = torch.where(good, square_root(2.0 * target_kl / (torch.where(good, square, 1.0) + 1e-8)), 0.0)
    return torch.where(good.unsqueeze(1), -beta.unsqueeze(1) * s, 0.0)


def inner_loop(
    problem: FiniteSum,
    snapshot: Tensor,
    blocks: Integers,
    hessian_blocks: Integers,
    settings: InnerLoop,
    keep_iterates: bool = False,
) -> Inner:
    """The inner loop of section 2.5.

    The snapshot's gradient on each block is computed once: the blocks are a partition of the batch, so together they
    cost one full gradient, and an inner step needs one mini-batch gradient instead of two.

    Args:
        problem: the batch.
        snapshot: w~ (P,), with which the batch was collected.
        blocks: block of the mini-batch of each step, (m,).
        hessian_blocks: block of the Hessian of each step, (m,).
        settings: see there.
        keep_iterates: keep w before each step, for `variance_ratio`.
    """
    m, target_kl = len(blocks), settings.target_kl
    at_snapshot = problem.block_gradients(snapshot)
    full = at_snapshot.mean(0)
    w, total = snapshot.clone(), torch.zeros_like(snapshot)
    start = loss = problem.value(w)[0]
    divergence, rejections = 0.0, 0
    kl, decrease, accepted, made, trials, products = np.zeros((6, m))
    iterates: list[Tensor] = []
    searched: list[float] = []  # losses that a line search looked at

    def evaluate(candidate: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        found = problem.value(candidate[0], target_kl)
        searched.append(found[0])
        loss, kl = torch.tensor(found, dtype=torch.float64).unsqueeze(1)
        return loss, kl

    for t in range(m):
        if keep_iterates:
            iterates.append(w)
        spent = settings.stop_at is not None and divergence >= settings.stop_at * target_kl
        stuck = settings.stop_after is not None and rejections >= settings.stop_after
        if not (spent or stuck):  # section 6, 'late inner steps are mostly wasted'
            known = settings.gradient == "full" and t == 0
            block = int(blocks[t])
            v = full if known else inner_gradient(problem, w, block, settings.gradient, at_snapshot, full)
            total += v
            product = _Counted(problem.hessian(w, int(hessian_blocks[t]), settings.damping))
            step = newton_step(product, v.unsqueeze(0), target_kl, settings.cg_steps)
            searched.clear()
            here = torch.tensor([loss], dtype=torch.float64)
            new, taken, new_kl = line_search(
                evaluate, w.unsqueeze(0), step, here, target_kl, settings.backtrack_ratio, settings.line_search_steps
            )
            made[t], trials[t], products[t] = 1.0, len(searched), product.calls
            if taken > 0.0:
                w, loss, divergence = new[0], searched[-1], float(new_kl)
                accepted[t], rejections = 1.0, 0
            else:
                rejections += 1
        kl[t], decrease[t] = divergence, start - loss
    mean, largest = total / made.sum(), problem.largest_kl(w)
    return Inner(w, full, mean, kl, decrease, accepted, made, trials, products, largest, iterates)


def variance_ratio(problem: FiniteSum, snapshot: Tensor, iterates: list[Tensor]) -> Array:
    """Conditional variance of the SVRG gradient over that of the plain mini-batch's, before each inner step, (m,).

        sum_k |d_k(w) - d(w)|² / sum_k |g_k(w) - g(w)|²,    d_k(w) = g_k(w) - g_k(w~)

    over all blocks k of the problem, which should be another partition of the batch than the one that led to w: then
    the K blocks are mini-batches redrawn.

    Args:
        problem: the batch, cut anew.
        snapshot: w~ (P,).
        iterates: w (P,) before each step.
    """
    at_snapshot = problem.block_gradients(snapshot)
    ratios: list[float] = []
    for k, w in enumerate(iterates):
        if k and w is iterates[k - 1]:  # the step before was rejected
            ratios.append(ratios[-1])
            continue
        plain = problem.block_gradients(w)
        spread = _spread(plain)  # 0 for a single block, or where nothing is rewarded
        ratios.append(_spread(plain - at_snapshot) / spread if spread > 0.0 else 0.0)
    return np.array(ratios)


def _spread(gradients: Tensor) -> float:
    """Sum over blocks of squared distances from their mean, of (K, P)."""
    return float((gradients - gradients.mean(0)).square().sum())


class _Counted:
    """A product that counts its calls."""

    def __init__(self, product: Product) -> None:
        self._product, self.calls = product, 0

    def __call__(self, v: Tensor) -> Tensor:
        self.calls += 1
        return self._product(v)
