"""Random nets and samples of a few seeds, and Stable-Baselines3's models with the same weights and samples."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from septet.rl import gaussian
from septet.rl.collecting import Batch
from septet.rl.networks import Network, Parameters, initial, orthogonal

OBSERVATION, ACTION, SAMPLES = 5, 2, 200


def nets(seeds, hidden=(64, 64)):
    policy = Network((OBSERVATION, *hidden, ACTION), free=ACTION)
    value = Network((OBSERVATION, *hidden, 1))
    gains = [2**0.5] * len(hidden)
    return (
        Parameters(policy, initial(policy, 0, ("policy",), seeds, orthogonal([*gains, 0.5]))),
        Parameters(value, initial(value, 0, ("value",), seeds, orthogonal([*gains, 1.0]))),
    )


@pytest.fixture
def case():
    """(policy, value, batch) of three seeds; the actions are the policy's own."""
    torch.manual_seed(0)
    policy, value = nets((0, 1, 2))
    x = torch.randn(3, SAMPLES, OBSERVATION)
    with torch.no_grad():
        mean = policy(x)
        action = mean + policy.free.exp().unsqueeze(1) * torch.randn(3, SAMPLES, ACTION)
        log_prob = gaussian.log_prob(mean, policy.free, action)
    batch = Batch(x, action, log_prob, 2.0 * torch.randn(3, SAMPLES) + 1.0, 3.0 * torch.randn(3, SAMPLES))
    return policy, value, batch


class Sizes(gymnasium.Env):
    """An environment that is nothing but its spaces."""

    def __init__(self, observation, action):
        self.observation_space = spaces.Box(-np.inf, np.inf, (observation,))
        self.action_space = spaces.Box(-1.0, 1.0, (action,))


def peer_model(model, policy, value, batch, old_value, **settings):
    """A model of class `model` that has one seed's weights, and its samples in the rollout buffer."""
    from stable_baselines3.common.logger import configure

    n, observation = batch.observation.shape[1:]
    ours = model("MlpPolicy", Sizes(observation, batch.action.shape[2]), n_steps=n, device="cpu", verbose=0, **settings)
    ours.set_logger(configure(None, []))
    net = ours.policy
    linears = [net.mlp_extractor.policy_net[0], net.mlp_extractor.policy_net[2], net.action_net]
    copy(policy, linears)
    net.log_std.data.copy_(policy.free.detach()[0])
    copy(value, [net.mlp_extractor.value_net[0], net.mlp_extractor.value_net[2], net.value_net])
    buffer = ours.rollout_buffer
    buffer.observations[:, 0] = batch.observation[0]
    buffer.actions[:, 0] = batch.action[0]
    for name, values in (
        ("log_probs", batch.log_prob),
        ("advantages", batch.advantage),
        ("returns", batch.returns),
        ("values", old_value),
    ):
        getattr(buffer, name)[:, 0] = values[0]
    buffer.full = True
    return ours


def copy(parameters, linears):
    for (weight, bias), linear in zip(parameters.layers, linears, strict=True):
        linear.weight.data.copy_(weight.detach()[0].T)
        linear.bias.data.copy_(bias.detach()[0])


def flat(linears, *free):
    parts = [part for linear in linears for part in (linear.weight.T, linear.bias)]
    return torch.cat([part.detach().reshape(-1) for part in (*parts, *free)])


def weights(model):
    """Flat parameters of the model's policy and of its value net."""
    net = model.policy
    policy = [net.mlp_extractor.policy_net[0], net.mlp_extractor.policy_net[2], net.action_net]
    value = [net.mlp_extractor.value_net[0], net.mlp_extractor.value_net[2], net.value_net]
    return flat(policy, net.log_std), flat(value)


@pytest.fixture
def peer():
    """`model`: a peer's model with one seed's weights and samples; `weights`: what it learned."""
    return SimpleNamespace(model=peer_model, weights=weights)
