"""Proximal policy optimisation with a clipped ratio (Schulman et al. 2017), as Stable-Baselines3 does it.

From a job to the update: `OnPolicy` sets up environments and nets (`__init__`), an iteration collects, forms advantages
(`prepare`) and learns (`PPOLearner.learn`), and `ppo_epochs` is the update. Settings are in `septet.rl.config.PPO`.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.arrays import checked
from septet.compiled import compiled
from septet.errors import InputError
from septet.rl import gaussian, returns, values
from septet.rl.adam import scaled_adam
from septet.rl.collecting import (
    Array,
    Batch,
    Collecting,
    by_seed,
    by_step,
    normalised,
    permutations,
    sizes_of,
    values_at,
)
from septet.rl.config import PPO, TRPO, VPG, Job
from septet.rl.dense import backward, forward, weight_gradient
from septet.rl.lockstep import each_seed
from septet.rl.networks import Network, Parameters, initial, orthogonal
from septet.rl.normalise import standard
from septet.rl.optimisers import Adam
from septet.rl.shapes import Float32, Net, Tape, sides, tape, tape_spec
from septet.rl.values import tanh_net
from septet.sampler.policy import GaussianPolicy
from septet.sampler.rollout import Rollout

Integers = NDArray[np.int64]
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
EPS = 1e-5  # Adam's, as in Stable-Baselines3


class OnPolicy(Collecting):
    """What VPG, TRPO and PPO share: orthogonal tanh nets, generalised advantages, the value net's regression.

    A Gaussian policy and a value net that share nothing, S seeds in lockstep.

    Args:
        job: what to train.
        method: its method.
        rates: Adam's, of policy and value net.
    """

    checkpointed = (*Collecting.checkpointed, "policy", "value", "policy_optimiser", "value_optimiser")

    def __init__(self, job: Job, method: VPG | TRPO | PPO, rates: tuple[float, float]) -> None:
        shape = GaussianPolicy(*sizes_of(job.task.environment), method.hidden, clip=method.clip_observations)
        super().__init__(job, shape, method.steps)
        self.common = method
        gains = [math.sqrt(2.0)] * len(method.hidden)
        networks = Network(shape.sizes, free=shape.action_size), Network((*shape.sizes[:-1], 1))
        draws = orthogonal([*gains, 0.01]), orthogonal([*gains, 1.0])
        self.policy, self.value = (
            Parameters(network, initial(network, job.root_seed, (name,), job.seeds, draw))
            for network, name, draw in zip(networks, ("policy", "value"), draws, strict=True)
        )
        self.policy_optimiser = Adam(self.policy.flat, self.policy.gradient, rates[0], eps=EPS)
        self.value_optimiser = Adam(self.value.flat, self.value.gradient, rates[1], eps=EPS)

    def weights(self) -> NDArray[np.float32]:
        """The policy's parameters: the layout is that of the samplers."""
        return self.policy.flat.numpy()

    def scaling(self) -> tuple[Array, Array]:
        """Standardising mean and scale, or none."""
        if self.common.normalise_observations:
            return standard(self.moments)
        return np.zeros_like(self.moments.mean), np.ones_like(self.moments.mean)

    @torch.no_grad()
    def prepare(self, rollout: Rollout) -> tuple[Batch, dict[str, Array]]:
        """Log-densities, advantages and value targets of the samples."""
        seeds, method, mean, scale = len(self.job.seeds), self.common, rollout.mean, rollout.scale
        clip, steps = self.shape.clip, len(rollout.reward)
        x = torch.from_numpy(by_seed(normalised(rollout.observation, mean, scale, clip), seeds))
        action = torch.from_numpy(by_seed(rollout.action, seeds))

        def assess(
            value: Tensor, policy: Tensor, x: Tensor, action: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:  # of one seed
            free = self.policy.network.split(policy)[1]
            log_prob = gaussian.log_prob(self.policy.network(policy, x), free, action)
            return self.value.network(value, x).squeeze(2), log_prob, gaussian.entropy(free)

        values, log_prob, entropy = each_seed(assess, self.value.flat, self.policy.flat, x, action)
        value = values.numpy()
        stepwise = by_step(value, steps).astype(np.float64)
        each = rollout.reward.shape[1] // seeds
        last, ended = np.arange(rollout.reward.shape[1]), rollout.final_environment
        last_value = values_at(self.value, normalised(rollout.last_observation, mean, scale, clip), last // each)
        final = normalised(rollout.final_observation, mean[ended], scale[ended], clip)
        final_value = values_at(self.value, final, ended // each)
        following = returns.next_values(stepwise, last_value, rollout.final_step, ended, final_value)
        terminated = rollout.terminated if method.bootstrap_time_limits else rollout.terminated | rollout.truncated
        ends = terminated, rollout.truncated, rollout.valid
        advantage = by_seed(
            returns.gae(rollout.reward, stepwise, following, *ends, method.gamma, method.gae_lambda), seeds
        ).astype(np.float32)
        targets = advantage + value
        scores = {
            "entropy": entropy.double().numpy(),
            "explained_variance": returns.explained_variance(value.astype(np.float64), targets.astype(np.float64)),
        }
        return Batch(x, action, log_prob, torch.from_numpy(advantage), torch.from_numpy(targets)), scores

    def fit_values(self, batch: Batch, iteration: int, epochs: int, size: int) -> Array:
        """Fit the value net in mini-batches of `size`; mean squared error (S,)."""
        n = batch.observation.shape[1]
        order = permutations(self.job.root_seed, self.job.seeds, iteration, epochs, n)
        done = [int(self.value_optimiser.steps)] * len(order)
        x, target = list(batch.observation), list(batch.returns)
        loss = values.fit(self.value, self.value_optimiser, x, target, list(order), [size] * len(order), done)
        self.value_optimiser.steps += epochs * -(-n // size)
        return loss


class PPOLearner(OnPolicy):
    """PPO on a task, all seeds in lockstep."""

    def __init__(self, job: Job) -> None:
        method = job.method
        assert isinstance(method, PPO)
        super().__init__(job, method, (method.learning_rate, method.learning_rate))
        self.method = method

    def learn(self, batch: Batch, iteration: int) -> dict[str, Array]:
        """Go through the samples `epochs` times in mini-batches."""
        method, n = self.method, batch.observation.shape[1]
        order = permutations(self.job.root_seed, self.job.seeds, iteration, method.epochs, n)
        optimisers = self.policy_optimiser, self.value_optimiser
        found = train_epochs(self.policy, self.value, optimisers, batch, order, method)
        return dict(zip(("policy_loss", "value_loss", "kl", "clipped"), found.T, strict=True))


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """-min(rho A, clip(rho, 1 - c, 1 + c) A), element by element.

    Schulman et al. 2017, equation 7.

    Args:
        ratio: rho, probability of the action under the new policy over that under the old.
        advantage: A.
        clip: c.
    """
    return -torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


def standardised(advantage: Tensor) -> Tensor:
    """(A - mean) / (std + 1e-8) over the last axis, with the sample standard deviation; a single one as it is."""
    if advantage.shape[-1] < 2:
        return advantage
    return (advantage - advantage.mean(-1, keepdim=True)) / (advantage.std(-1, keepdim=True) + 1e-8)


def train_epochs(
    policy: Parameters, value: Parameters, optimisers: tuple[Adam, Adam], batch: Batch, order: Integers, method: PPO
) -> Array:
    """`ppo_epochs` of each seed, one after the other; tanh nets only.

    Args:
        policy, value: parameters, changed in place.
        optimisers: of the two, on their flat tensors.
        batch: samples (S, n, ...).
        order: permutations (S, epochs, n).
        method: settings.

    Returns:
        (S, 4): means over the mini-batches of policy loss, value loss, divergence and clipped share.

    Raises:
        InputError: an array that does not fit, or another net.
    """
    nets = tanh_net(policy.network), tanh_net(value.network)
    tapes = (
        tape(nets[0], method.minibatch_size)._replace(gradient=np.zeros(policy.flat.shape[1], np.float32)),
        tape(nets[1], method.minibatch_size),
    )
    if len(order) != len(policy.flat):
        raise InputError(
            "train_epochs: order", expected=f"one of each of the {len(policy.flat)} seeds", found=len(order)
        )
    done, found = int(optimisers[0].steps), []
    for s, rows in enumerate(order):
        of_policy, of_value = ((of.mean[s].numpy(), of.square[s].numpy()) for of in optimisers)
        observation, action, log_prob, advantage, returns = (part[s].contiguous().numpy() for part in batch)
        found.append(
            ppo_epochs(
                nets, policy.flat[s].numpy(), value.flat[s].numpy(), (*of_policy, *of_value),
                observation, action, log_prob, advantage, returns, rows, method.minibatch_size, tapes,
                done, optimisers[0].rate, optimisers[0].eps,
                method.clip_range, method.ent_coef, method.vf_coef, method.max_grad_norm,
            )
        )  # fmt: skip
    for optimiser in optimisers:
        optimiser.steps += order.shape[1] * -(-order.shape[2] // method.minibatch_size)
    return np.array(found)


def _sides(nets: tuple[Net, Net], *_: Any) -> dict[str, int]:
    """Numbers of the policy's net, whose parameters P end with log s, and in small letters of the value net's."""
    policy, value = sides(None, nets[0]), sides(None, nets[1])
    if (value["I"], value["O"]) != (policy["I"], 1):
        raise InputError("ppo_epochs: nets", expected=f"a value net from {policy['I']} to 1", found=nets[1])
    return {**policy, "P": policy["P"] + policy["O"], **{name.lower(): number for name, number in value.items()}}


@checked(
    _sides,
    policy="out f4 P",
    value="out f4 p",
    moments=("out f4 P", "out f4 P", "out f4 p", "out f4 p"),
    observation="f4 N>0 I",
    action="f4 N O",
    log_prob="f4 N",
    advantage="f4 N",
    returns="f4 N",
    order="i8 K>0 N < N",
    batch="int 1",
    tapes=(tape_spec("batch"), tape_spec("batch", str.lower)),
    first="int 0",
    **dict.fromkeys(("rate", "eps", "clip", "ent_coef", "vf_coef", "max_grad_norm"), "float"),
)
@compiled(reassociate=True, uses=("septet.sampler",))
def ppo_epochs(
    nets: tuple[Net, Net],
    policy: Float32,
    value: Float32,
    moments: tuple[Float32, Float32, Float32, Float32],
    observation: Float32,
    action: Float32,
    log_prob: Float32,
    advantage: Float32,
    returns: Float32,
    order: Integers,
    batch: int,
    tapes: tuple[Tape, Tape],
    first: int,
    rate: float,
    eps: float,
    clip: float,
    ent_coef: float,
    vf_coef: float,
    max_grad_norm: float,
) -> Array:
    """All mini-batch steps of one iteration for one seed.

        L = mean -min(rho A, clip(rho, 1 - c, 1 + c) A) - c_h H + c_v mean (V - R)²

    Schulman et al. 2017, equation 9; advantages standardised over the mini-batch, gradients of both nets clipped
    together. The divergence is the estimate mean(rho - 1 - log rho) of KL(old | new). Compiled, as torch spends ten
    times the arithmetic on dispatching some sixty operations for each mini-batch; the tests differentiate the loss.

    Args:
        nets: shapes of policy and value net, tanh.
        policy: flat parameters, log s at the end; value: of the value net; changed in place.
        moments: Adam's means and squares of the policy, then of the value net; changed in place.
        observation: (n, in), normalised; action: (n, A); log_prob: under the sampling policy, (n,).
        advantage, returns: (n,).
        order: (epochs, n), a permutation per epoch.
        batch: samples in a mini-batch; the last one of an epoch may be smaller.
        tapes: room for passes of both nets, the policy's gradient with log s.
        first: Adam steps before this call; rate, eps: Adam's.
        clip, ent_coef, vf_coef, max_grad_norm: as in `septet.rl.config.PPO`.

    Returns:
        Means over the mini-batches of policy loss, value loss, approximate KL divergence and clipped share.
    """
    n, d = observation.shape
    a = action.shape[1]
    layers = policy.size - a
    net, value_net = nets
    room, value_room = tapes
    weights, log_std, d_log_std = policy[:layers], policy[layers:], np.zeros(a, np.float32)
    x, delta = np.empty(batch * d, np.float32), np.empty(batch * a, np.float32)
    mean_of, value_of = np.empty((batch, a), np.float32), np.empty((batch, 1), np.float32)
    gradient, value_gradient = room.gradient, value_room.gradient
    weight = np.empty(batch, np.float32)
    inverse = np.empty(a, np.float32)
    sums = np.zeros(4)
    steps = 0
    for epoch in range(order.shape[0]):
        for start in range(0, n, batch):
            rows = order[epoch, start : min(start + batch, n)]
            b = rows.size
            mean = 0.0
            for r in range(b):
                k = rows[r]
                for i in range(d):
                    x[r * d + i] = observation[k, i]
                mean += advantage[k]
            seen = x[: b * d].reshape(b, d)
            mean /= b
            spread = 0.0
            for r in range(b):
                spread += (advantage[rows[r]] - mean) ** 2
            spread = math.sqrt(spread / (b - 1)) + 1e-8 if b > 1 else 1.0
            mean = mean if b > 1 else 0.0

            out = mean_of[:b]
            forward(weights, net, seen, room, out, False)
            constant = 0.0
            for j in range(a):
                inverse[j] = math.exp(-log_std[j])
                constant -= log_std[j] + HALF_LOG_2PI
            policy_loss, divergence, clipped = 0.0, 0.0, 0
            for r in range(b):
                k = rows[r]
                square = np.float32(0.0)
                for j in range(a):
                    z = (action[k, j] - out[r, j]) * inverse[j]
                    square += z * z
                log_ratio = constant - 0.5 * square - log_prob[k]
                ratio = math.exp(log_ratio)
                gain = (advantage[k] - mean) / spread
                bounded = min(max(ratio, 1.0 - clip), 1.0 + clip)
                policy_loss -= min(gain * ratio, gain * bounded)
                divergence += ratio - 1.0 - log_ratio
                clipped += abs(ratio - 1.0) > clip
                # d loss / d log_prob: nothing where the clipped term is the smaller one
                weight[r] = -gain * ratio / b if gain * ratio <= gain * bounded else 0.0
            change = delta[: b * a].reshape(b, a)
            d_log_std[:] = -ent_coef
            for r in range(b):
                k = rows[r]
                for j in range(a):
                    z = (action[k, j] - out[r, j]) * inverse[j]
                    change[r, j] = weight[r] * z * inverse[j]
                    d_log_std[j] += weight[r] * (z * z - np.float32(1.0))
            backward(weights, net, room, change, 0)
            weight_gradient(weights, net, seen, room, change)
            gradient[layers:] = d_log_std

            out = value_of[:b]
            forward(value, value_net, seen, value_room, out, False)
            value_loss = 0.0
            for r in range(b):
                error = out[r, 0] - returns[rows[r]]
                value_loss += error * error
                out[r, 0] = 2.0 * vf_coef * error / b
            backward(value, value_net, value_room, out, 0)
            weight_gradient(value, value_net, seen, value_room, out)

            square = np.float32(0.0)
            for k in range(gradient.size):
                square += gradient[k] * gradient[k]
            for k in range(value_gradient.size):
                square += value_gradient[k] * value_gradient[k]
            scale = min(1.0, max_grad_norm / (math.sqrt(square) + 1e-6))
            steps += 1
            scaled_adam(policy, gradient, moments[0], moments[1], first + steps, rate, scale, eps)
            scaled_adam(value, value_gradient, moments[2], moments[3], first + steps, rate, scale, eps)
            sums[0] += policy_loss / b
            sums[1] += value_loss / b
            sums[2] += divergence / b
            sums[3] += clipped / b
    return sums / steps
