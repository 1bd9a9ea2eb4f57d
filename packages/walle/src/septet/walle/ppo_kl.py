"""Proximal policy optimisation with an adaptive KL penalty, as the paper's code has it.

Sections are those of `docs/papers/walle.md`.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.rl import gaussian, returns, values
from septet.rl.collecting import Array, Collecting, by_seed, by_step, normalised, sizes_of, values_at
from septet.rl.lockstep import each_seed, own
from septet.rl.networks import Activation, Network, Parameters, backward, initial
from septet.rl.optimisers import Adam, AMSGrad
from septet.sampler.policy import GaussianPolicy
from septet.sampler.rollout import Rollout
from septet.seeding import stream
from septet.walle.config import Job, PPOKLSettings

BLOCK = 1024
"""Samples that go through the net together: what lies between two layers stays in the cache."""


def widths(inputs: int, last: int, small: bool = False) -> tuple[int, int, int]:
    """Hidden units h1 = 10 inputs, h2 = floor(sqrt(h1 h3)), h3 = last; a small net has a tenth of inputs (section 2.2).

    Args:
        inputs: d_o.
        last: h3: 10 d_a for a policy, d_a for a small one, 5 for a value net.
        small: h1 = d_o.
    """
    h1 = inputs if small else 10 * inputs
    return h1, math.isqrt(h1 * last), last


def penalised(surrogate: Tensor, divergence: Tensor, beta: Tensor, target: float, eta: float) -> Tensor:
    """L = surrogate + beta KL + eta max(0, KL - 2 kappa)², per seed (section 2.2).

    Args:
        surrogate: -mean A exp(log pi - log pi_old), (S,).
        divergence: mean KL(pi_old | pi), (S,).
        beta: (S,).
        target: kappa.
        eta: weight of the hinge.
    """
    return surrogate + beta * divergence + eta * (divergence - 2.0 * target).clamp(min=0.0).square()


def adapted(divergence: Array, beta: Array, multiplier: Array, target: float) -> tuple[Array, Array]:
    """Penalty and rate multiplier of the next iteration (section 2.2).

        KL > 2 kappa:  beta <- min(35, 1.5 beta);    m <- m / 1.5  if beta > 30 and m > .1
        KL < kappa/2:  beta <- max(1/35, beta/1.5);  m <- 1.5 m    if beta < 1/30 and m < 10

    Args:
        divergence: KL after the update, (S,).
        beta: (S,).
        multiplier: m, (S,).
        target: kappa.
    """
    far, near = divergence > 2.0 * target, divergence < 0.5 * target
    beta = np.where(far, np.minimum(35.0, 1.5 * beta), np.where(near, np.maximum(1.0 / 35.0, beta / 1.5), beta))
    slower, faster = far & (beta > 30.0) & (multiplier > 0.1), near & (beta < 1.0 / 30.0) & (multiplier < 10.0)
    return beta, np.where(slower, multiplier / 1.5, np.where(faster, 1.5 * multiplier, multiplier))


class Samples(NamedTuple):
    """Samples of an iteration by seed; a seed's own come first, rows without weight follow."""

    observation: Tensor
    """Normalised, (S, n, in)."""
    action: Tensor
    """(S, n, A)."""
    advantage: Tensor
    """Standardised over the seed's batch, (S, n)."""
    returns: Tensor
    """Discounted, of scaled rewards, (S, n)."""
    weight: Tensor
    """1 / (number of the seed's samples), or 0, (S, n)."""


def log_std_of(table: Tensor, actions: int) -> Tensor:
    """log s = (sum_k l_k - 1) / 2 from the (S, K * A) table of log-variances l (section 2.2)."""
    return 0.5 * (table.view(len(table), -1, actions).sum(1) - 1.0)


def update(
    policy: Parameters, optimiser: AMSGrad, batch: Samples, beta: Array, rate: Array, method: PPOKLSettings
) -> tuple[Array, NDArray[np.int64]]:
    """Up to `steps_per_update` full-batch steps, until KL > 4 kappa, each seed on its own (section 2.2).

    Args:
        policy: parameters, changed in place.
        optimiser: on its flat tensor.
        batch: samples (S, n, ...).
        beta: penalty (S,).
        rate: of AMSGrad (S,).
        method: settings.

    Returns:
        KL divergence after the last step (S,), and number of steps (S,).
    """
    penalty, rates = torch.from_numpy(beta).float(), torch.from_numpy(rate).float()
    divergence, steps = np.zeros(len(beta)), np.zeros(len(beta), np.int64)
    for s in range(len(beta)):
        count = int((batch.weight[s] > 0).sum())
        samples = Samples(*(own(part[:, :count], s) for part in batch))
        divergence[s], steps[s] = _update_one(policy, optimiser, s, samples, penalty[s : s + 1], rates[s], method)
    return divergence, steps


def _update_one(
    policies: Parameters,
    optimiser: AMSGrad,
    s: int,
    batch: Samples,
    penalty: Tensor,
    rate: Tensor,
    method: PPOKLSettings,
) -> tuple[float, int]:
    """KL divergence after the last step of seed `s`, and number of steps."""
    policy, actions = Parameters(policies.network, own(policies.flat, s)), batch.action.shape[2]
    with torch.no_grad():
        old_mean, old_log_std = policy(batch.observation), log_std_of(policy.free, actions)
        old_log_prob = gaussian.log_prob(old_mean, old_log_std, batch.action)
    for step in range(method.policy_steps + 1):
        with torch.set_grad_enabled(step < method.policy_steps):
            mean = torch.cat([policy(part) for part in torch.split(batch.observation, BLOCK, dim=1)], 1)
            log_std = log_std_of(policy.free, actions)
            divergence = (gaussian.kl(old_mean, old_log_std, mean, log_std) * batch.weight).sum(1)
            if step == method.policy_steps or not divergence <= 4.0 * method.target_kl:
                break
            ratio = (gaussian.log_prob(mean, log_std, batch.action) - old_log_prob).exp()
            surrogate = -(ratio * batch.advantage * batch.weight).sum(1)
            loss = penalised(surrogate, divergence, penalty, method.target_kl, method.hinge)
        backward(loss.sum(), policy)
        optimiser.step(s, policy.gradient[0], rate)
        policy.flat.copy_(policies.flat[s : s + 1])
    return float(divergence.detach()), step


class PPOKLLearner(Collecting):
    """The paper's learner on a task, all seeds in lockstep (section 2.2)."""

    checkpointed = (
        *Collecting.checkpointed, "policy", "value", "policy_optimiser", "value_optimiser", "beta", "multiplier",
        "value_steps", "previous",
    )  # fmt: skip

    def __init__(self, job: Job) -> None:
        self.method, seeds = (method := job.method), len(job.seeds)
        observation, actions = sizes_of(job.task.environment)
        inputs, small = observation + 1, method.small_net
        h1, h2, h3 = widths(inputs, actions if small else 10 * actions, small)
        linear = method.policy == "linear"
        shape = GaussianPolicy(inputs, actions, (h1, h2) if linear else (h1, h2, h3), clip=math.inf)
        super().__init__(
            job,
            shape,
            method.steps,
            whole_episodes=True,
            time_feature=True,
            per_sampler_scaling=method.per_sampler_scaling,
        )
        rows = max(1, 10 * h3 // 48)
        third: Activation = "linear" if linear else "tanh"
        network = Network((inputs, h1, h2, h3, actions), ("tanh", "tanh", third, "linear"), free=rows * actions)
        hidden = widths(inputs, 5, small)
        value = Network((inputs, *hidden, 1))
        draw = _uniform if linear else _normal
        self.policy = Parameters(network, initial(network, job.root_seed, ("policy",), job.seeds, draw))
        self.value = Parameters(value, initial(value, job.root_seed, ("value",), job.seeds, _normal))
        self.policy_optimiser = AMSGrad(self.policy.flat)
        self.value_optimiser = Adam(
            self.value.flat, self.value.gradient, method.value_learning_rate / math.sqrt(hidden[1])
        )
        self.rate = method.learning_rate / math.sqrt(h2)
        self.beta, self.multiplier = np.full(seeds, method.beta), np.ones(seeds)
        self.value_steps = np.zeros(seeds, np.int64)
        self.previous: list[tuple[Tensor, Tensor]] = [
            (torch.zeros(0, inputs), torch.zeros(0)) for _ in job.seeds
        ]  # of the batch before, for the value net

    def weights(self) -> NDArray[np.float32]:
        """The policy as the samplers compute it: a linear third layer is multiplied into the output's."""

        def folded(flat: Tensor) -> tuple[Tensor]:
            layers, table = self.policy.network.split(flat)
            parts = [part.double() for layer in layers for part in layer]
            if self.method.policy == "linear":
                *parts, third, bias, last, out = parts
                parts += [third @ last, (bias.unsqueeze(1) @ last).squeeze(1) + out]
            log_std = log_std_of(table.double(), self.shape.action_size)
            return (torch.cat([*(part.flatten(1) for part in parts), log_std], 1).float(),)

        return each_seed(folded, self.policy.flat)[0].numpy()

    def scaling(self) -> tuple[Array, Array]:
        """(o - mu) / (3 (sigma + .1)), the time feature as it is; nothing before the first batch (section 2.2)."""
        mean, scale = self.moments.mean.copy(), 1.0 / (3.0 * (np.sqrt(self.moments.variance) + 0.1))
        fresh = self.moments.count == 0
        mean[:, -1], scale[:, -1] = 0.0, 1.0
        mean[fresh], scale[fresh] = 0.0, 1.0
        return mean, scale

    @torch.no_grad()
    def prepare(self, rollout: Rollout) -> tuple[Samples, dict[str, Array]]:
        """Scaled rewards, advantages and returns of the samples; V = 0 after a time limit unless bootstrapped."""
        method, seeds, steps = self.method, len(self.job.seeds), len(rollout.reward)
        mean, scale, ended = rollout.mean, rollout.scale, rollout.final_environment
        each = rollout.reward.shape[1] // seeds
        x = by_seed(normalised(rollout.observation, mean, scale, math.inf), seeds)
        valid = by_seed(rollout.valid, seeds)
        seed, row = np.nonzero(valid)
        value = np.zeros(valid.shape)
        value[seed, row] = values_at(self.value, x[seed, row], seed)
        reward, terminated = (1.0 - method.gamma) * rollout.reward, rollout.terminated
        if method.bootstrap_time_limits:
            final = normalised(rollout.final_observation, mean[ended], scale[ended], math.inf)
            final_value = values_at(self.value, final, ended // each)
        else:
            terminated, final_value = terminated | rollout.truncated, np.zeros(len(ended))
        stepwise = by_step(value, steps)
        # every episode is whole, so the last observation is a first one of the next: its value is never used
        following = returns.next_values(stepwise, np.zeros(reward.shape[1]), rollout.final_step, ended, final_value)
        ends = terminated, rollout.truncated, rollout.valid
        advantage = by_seed(returns.gae(reward, stepwise, following, *ends, method.gamma, method.gae_lambda), seeds)
        target = by_seed(returns.discounted(reward, following, *ends, method.gamma), seeds)
        action = by_seed(rollout.action, seeds)
        order = np.argsort(~valid, axis=1, kind="stable")  # a seed's own samples first
        count = valid.sum(1)
        longest, rows = int(count.max()), np.arange(seeds)[:, None]
        pick = rows, order[:, :longest]
        weight = valid[pick] / count[:, None]
        advantage, target, explained = advantage[pick], target[pick], np.zeros(seeds)
        for s, used in enumerate(count):
            explained[s : s + 1] = returns.explained_variance(value[s, valid[s]][None], target[s, :used][None])
            away = advantage[s, :used] - advantage[s, :used].mean()
            advantage[s, :used] = away / (np.sqrt((away**2).mean()) + 1e-6)
        arrays = x[pick], action[pick], advantage, target, weight
        batch = Samples(*(torch.from_numpy(array.astype(np.float32)) for array in arrays))
        return batch, {"explained_variance": explained}

    def learn(self, batch: Samples, iteration: int) -> dict[str, Array]:
        """Update the policy, adapt penalty and rate, fit the value net."""
        method = self.method
        divergence, steps = update(
            self.policy, self.policy_optimiser, batch, self.beta, self.multiplier * self.rate, method
        )
        self.beta, self.multiplier = adapted(divergence, self.beta, self.multiplier, method.target_kl)
        loss = self.fit_values(batch, iteration)
        size = self.shape.action_size
        (entropy,) = each_seed(lambda table: (gaussian.entropy(log_std_of(table, size)),), self.policy.free.detach())
        return {
            "kl": divergence,
            "policy_steps": steps.astype(np.float64),
            "beta": self.beta,
            "rate_multiplier": self.multiplier,
            "value_loss": loss,
            "entropy": entropy.double().numpy(),
        }

    def fit_values(self, batch: Samples, iteration: int) -> Array:
        """Fit returns on this batch and the last, as many mini-batches an epoch as this one fills (section 2.2)."""
        method, order, sizes, new = self.method, [], [], []
        for s, seed in enumerate(self.job.seeds):
            count = int((batch.weight[s] > 0).sum())
            new.append((batch.observation[s, :count], batch.returns[s, :count]))
            minibatches = max(count // method.value_minibatch_size, 1)
            sizes.append(count // minibatches)
            rng, total = stream(self.job.root_seed, "minibatch", seed, iteration), count + len(self.previous[s][0])
            epochs = [rng.permutation(total)[: minibatches * sizes[s]] for _ in range(method.value_epochs)]
            order.append(np.stack(epochs))
        both = [[torch.cat(pair) for pair in zip(new[s], old, strict=True)] for s, old in enumerate(self.previous)]
        x, target = [pair[0] for pair in both], [pair[1] for pair in both]
        loss = values.fit(
            self.value, self.value_optimiser, x, target, order, sizes, self.value_steps.tolist(), self.job.threads
        )
        self.value_steps += [rows.size // size for rows, size in zip(order, sizes, strict=True)]
        self.previous = [(x_new.clone(), y_new.clone()) for x_new, y_new in new]
        return loss


def _normal(rng: np.random.Generator, layer: int, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    return rng.standard_normal((fan_in, fan_out)) / math.sqrt(fan_in), np.zeros(fan_out)


def _uniform(rng: np.random.Generator, layer: int, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    return rng.uniform(-0.05, 0.05, (fan_in, fan_out)), np.zeros(fan_out)
