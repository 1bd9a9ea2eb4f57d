"""DDPG's update against automatic differentiation, Stable-Baselines3, and numbers by hand."""

import numpy as np
import pytest
import torch

from septet.errors import InputError
from septet.rl.adam import adam_and_polyak
from septet.rl.config import DDPG
from septet.rl.ddpg import Agent
from septet.rl.dense import apply, backward, forward, join, late_gradient, weight_gradient
from septet.rl.networks import Network
from septet.rl.replay import Replay
from septet.rl.shapes import initial, net, tape
from septet.state import load_state_dict, state_dict

OBS, ACT, BATCH = 5, 2, 32
HIDDEN = (24, 16)
METHOD = DDPG(algorithm="ddpg", hidden=HIDDEN, batch_size=BATCH, tau=0.05)


def agent(seeds: list[int], method: DDPG = METHOD, threads: int = 1) -> Agent:
    return Agent(method, 7, "toy", seeds, OBS, ACT, threads)


def filled(seeds: list[int], count: int = 100) -> Replay:
    replay = Replay(seeds, OBS, ACT, count)
    for index, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        replay.records[index] = rng.standard_normal(replay.records.shape[1:], dtype=np.float32)
        replay.records[index, :, OBS + ACT + 1] = rng.random(count) < 0.3
    replay.added = count
    return replay


def rows(seeds: list[int], number: int) -> np.ndarray:
    return np.stack([np.random.default_rng([seed, number]).integers(0, 100, BATCH) for seed in seeds])


class Reference:
    """One seed with autograd, torch's Adam and a loop for the targets."""

    def __init__(self, of: Agent, index: int, method: DDPG = METHOD) -> None:
        self.method, self.updates = method, 0
        self.nets = {
            "actor": Network((OBS, *method.hidden, ACT), "relu"),
            "critic": Network((OBS + ACT, *method.hidden, 1), "relu"),
        }
        self.flat = {
            name: torch.from_numpy(getattr(of.networks, name)[index : index + 1].copy()).requires_grad_()
            for name in ("actor", "critic")
        }
        self.target = {name: flat.detach().clone() for name, flat in self.flat.items()}
        self.adam = {
            "actor": torch.optim.Adam([self.flat["actor"]], method.actor_learning_rate),
            "critic": torch.optim.Adam(
                [self.flat["critic"]], method.critic_learning_rate, weight_decay=method.critic_decay
            ),
        }

    def mu(self, weights: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.nets["actor"](weights, o))

    def q(self, weights: torch.Tensor, o: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        return self.nets["critic"](weights, torch.cat([o, a], 2))[..., 0]

    def update(self, batch: dict[str, np.ndarray]) -> tuple[float, float]:
        o, a, r, d, after = (torch.from_numpy(batch[name]) for name in batch)
        with torch.no_grad():
            next_q = self.q(self.target["critic"], after, self.mu(self.target["actor"], after))
            y = r + self.method.gamma * (1 - d) * next_q
        critic_loss = ((self.q(self.flat["critic"], o, a) - y) ** 2).mean()
        self.step("critic", critic_loss)
        self.updates += 1
        if self.updates % self.method.actor_every:
            return critic_loss.item(), 0.0
        actor_loss = -self.q(self.flat["critic"], o, self.mu(self.flat["actor"], o)).mean()
        self.step("actor", actor_loss)
        with torch.no_grad():
            for name, target in self.target.items():
                target.mul_(1 - self.method.tau).add_(self.flat[name], alpha=self.method.tau)
        return critic_loss.item(), actor_loss.item()

    def step(self, name: str, loss: torch.Tensor) -> None:
        self.adam[name].zero_grad()
        loss.backward()
        self.adam[name].step()


@pytest.mark.parametrize(
    "method", [METHOD, METHOD.model_copy(update={"critic_decay": 1e-2, "hidden": (20,), "actor_every": 2})]
)
def test_updates_are_those_of_autograd(method: DDPG) -> None:
    seeds = [3, 5]
    ours, replay = agent(seeds, method), filled(seeds)
    peers = [Reference(ours, index, method) for index in range(2)]
    for number in range(5):
        picked = rows(seeds, number)
        losses = ours.learn(replay, picked)
        fields = replay.fields(picked)
        for index, peer in enumerate(peers):
            expected = peer.update({name: value[index : index + 1] for name, value in fields.items()})
            np.testing.assert_allclose(losses[index], expected, rtol=2e-5, atol=1e-6)
    for index, peer in enumerate(peers):
        for name in ("actor", "critic"):
            np.testing.assert_allclose(
                getattr(ours.networks, name)[index], peer.flat[name].detach().numpy()[0], rtol=2e-4, atol=2e-5
            )
            np.testing.assert_allclose(
                getattr(ours.networks, f"target_{name}")[index], peer.target[name].numpy()[0], rtol=2e-4, atol=5e-6
            )


def test_one_update_is_that_of_stable_baselines3() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from gymnasium import Env, spaces
    from stable_baselines3.common.logger import configure

    class Toy(Env):  # type: ignore[misc]  # spaces only
        observation_space = spaces.Box(-10, 10, (OBS,))
        action_space = spaces.Box(-1, 1, (ACT,))

    peer = sb3.DDPG(
        "MlpPolicy", Toy(), batch_size=BATCH, tau=METHOD.tau, policy_kwargs={"net_arch": list(HIDDEN)}, seed=0
    )
    peer.set_logger(configure(None, []))
    ours, replay = agent([3]), filled([3])

    def flat(module: torch.nn.Module) -> np.ndarray:
        parts = [p.detach().numpy().T.ravel() for p in module.parameters()]
        return np.concatenate(parts)

    modules = {
        "actor": peer.actor,
        "critic": peer.critic,
        "target_actor": peer.actor_target,
        "target_critic": peer.critic_target,
    }
    for name, module in modules.items():
        getattr(ours.networks, name)[0] = flat(module)
    picked = rows([3], 0)
    fields = {name: torch.from_numpy(value[0]) for name, value in replay.fields(picked).items()}
    sample = sb3.common.buffers.ReplayBufferSamples(
        observations=fields["observation"],
        actions=fields["action"],
        next_observations=fields["next_observation"],
        dones=fields["terminated"][:, None],
        rewards=fields["reward"][:, None],
    )
    peer.replay_buffer.sample = lambda *_, **__: sample
    for _ in range(3):
        peer.train(gradient_steps=1, batch_size=BATCH)
        ours.learn(replay, picked)
    for name, module in modules.items():
        np.testing.assert_allclose(getattr(ours.networks, name)[0], flat(module), rtol=2e-4, atol=2e-5)


def test_a_seed_alone_is_the_seed_in_a_batch_on_any_threads() -> None:
    together, alone = agent([3, 5, 8], threads=2), agent([5])
    for number in range(4):
        together.learn(filled([3, 5, 8]), rows([3, 5, 8], number))
        alone.learn(filled([5]), rows([5], number))
    together.close()
    for name, weights in alone.networks._asdict().items():
        np.testing.assert_array_equal(getattr(together.networks, name)[1], weights[0])
    o = np.random.default_rng(0).standard_normal((1, OBS))
    np.testing.assert_array_equal(together.act(np.repeat(o, 3, 0))[1], alone.act(o)[0])


def test_the_critics_target_by_hand() -> None:
    """Nets with zero weights but biases: Q' = 3 everywhere, Q = 0, so y is 1 + .9 * 3 or 1."""
    method = DDPG(algorithm="ddpg", hidden=(4,), batch_size=2, gamma=0.9)
    one = agent([0], method)
    one.networks.critic[:] = 0.0
    one.networks.target_critic[:] = 0.0
    one.networks.target_critic[0, -1] = 3.0
    replay = Replay([0], OBS, ACT, 2)
    for terminated in (False, True):
        replay.add(np.zeros((1, OBS)), np.zeros((1, ACT)), [1.0], [terminated], np.ones((1, OBS)))
    losses = one.learn(replay, np.array([[0, 1]]))
    assert losses[0, 0] == pytest.approx((3.7**2 + 1.0**2) / 2)
    # dL/db = mean of 2 (Q - y) = -4.7; Adam's first step is the rate, whatever the gradient's size
    assert one.networks.critic_mean[0, -1] == pytest.approx(0.1 * -4.7)
    assert one.networks.critic[0, -1] == pytest.approx(1e-3)
    assert losses[0, 1] == pytest.approx(-1e-3)
    assert one.networks.target_critic[0, -1] == pytest.approx(3.0 + 0.005 * (1e-3 - 3.0))


def test_adam_and_polyak_by_hand() -> None:
    w, g = np.array([1.0, -2.0], "f4"), np.array([0.5, -4.0], "f4")
    m, v, target = (np.zeros(2, "f4") for _ in range(3))
    adam_and_polyak(w, g, m, v, 1, 0.1, target, 0.25)
    np.testing.assert_allclose(w, [0.9, -1.9], rtol=1e-6)
    np.testing.assert_allclose(target, [0.225, -0.475], rtol=1e-6)
    adam_and_polyak(w, -g, m, v, 2, 0.1, target, 0.25)
    # m = .09 g - .1 g... = -.01 g / .19 after correction, v = g^2: the step is .1 * .01 / .19 * sign(g)
    np.testing.assert_allclose(w, [0.9 + 0.001 / 0.19, -1.9 - 0.001 / 0.19], rtol=1e-5)


def normalised_layers(shape, flat, x, late):
    """The normalised net of `septet.rl.shapes` in torch, written as its docstring has it."""
    at, h, last = 0, x, len(shape.sizes) - 2
    for layer, columns in enumerate(shape.sizes[1:].tolist()):
        if layer == shape.at:
            h = torch.cat([h, late], 1)
        rows = h.shape[1]
        h = h @ flat[at : at + rows * columns].reshape(rows, columns) + flat[at + rows * columns :][:columns]
        at += (rows + 1) * columns
        if layer < last:
            gain, offset = flat[at : at + columns], flat[at + columns : at + 2 * columns]
            at += 2 * columns
            spread = (h.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
            h = torch.relu((h - h.mean(1, keepdim=True)) / spread * gain + offset)
    return h


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("normalised", [False, True])
def test_gradients_of_a_net_with_late_inputs_are_those_of_autograd(normalised, at):
    if at and not normalised:
        with pytest.raises(InputError, match="net: expected relu layers"):
            net((3, 7, 6, 2), late=2, at=1)
        return
    shape, rng = net((3, 7, 6, 2), normalised=normalised, late=2, at=at), np.random.default_rng(1)
    weights = initial(shape, 0, ("x",), [0], last=0.5)[0]
    weights += 0.1 * rng.standard_normal(weights.shape, dtype=np.float32)  # gains and offsets other than 1 and 0
    x, late, delta = (rng.standard_normal((4, k), dtype=np.float32) for k in (3, 2, 2))
    room, out, dlate = tape(shape, 4), np.zeros((4, 2), "f4"), np.zeros((4, 2), "f4")
    inputs = np.zeros((4, 3 if at else 5), "f4")
    inputs[:, :3] = x
    join(shape, inputs, room, late)
    forward(weights, shape, inputs, room, out, False)
    backward(weights, shape, room, delta, shape.at)
    late_gradient(weights, shape, room, dlate)
    backward(weights, shape, room, delta, 0)
    weight_gradient(weights, shape, inputs, room, delta)
    single = np.zeros((1, 4, 2), "f4")
    apply(weights[None], shape, x[None], late[None], single, False)

    flat, actions = torch.from_numpy(weights).requires_grad_(), torch.from_numpy(late).requires_grad_()
    if normalised:
        y = normalised_layers(shape, flat, torch.from_numpy(x), actions)
    else:
        y = Network((5, 7, 6, 2), "relu")(flat[None], torch.cat([torch.from_numpy(x), actions], 1)[None])[0]
    y.backward(torch.from_numpy(delta))
    np.testing.assert_allclose(out, y.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(single[0], out, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(room.gradient, flat.grad.numpy(), rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(dlate, actions.grad.numpy(), rtol=1e-3, atol=2e-5)


def test_state_restores_every_array() -> None:
    first, replay = agent([3, 5]), filled([3, 5])
    first.learn(replay, rows([3, 5], 0))
    second = agent([3, 5])
    load_state_dict(second, state_dict(first))
    first.learn(replay, rows([3, 5], 1))
    second.learn(replay, rows([3, 5], 1))
    for name, array in state_dict(first).items():
        np.testing.assert_array_equal(array, state_dict(second)[name])
