"""EMPGTrainer: TRL generates and scores; advantages, losses, gradients and a step are ours."""

import re

import pytest
import torch
from datasets import Dataset
from datasets.table import InMemoryTable
from test_models import folder
from transformers import AutoModelForCausalLM, AutoTokenizer

from septet.empg.config import Method
from septet.empg.forward import log_probabilities
from septet.empg.policy import Masters, Policy
from septet.empg.sample import Rollout
from septet.empg.trl_trainer import EMPGConfig, EMPGTrainer, empg_advantages
from septet.empg.update import batch_loss, improve, lesson
from septet.errors import InputError

PROMPTS = ["a", "bc", "1+1=", "x"]
AVERAGES = {"grpo": "sequence", "dr_grpo": "constant"}


def letters(completions, **_):
    return [text.count("e") - text.count("z") for text in completions]


def long(completions, **_):
    return [len(text) / 10 for text in completions]


def trainer(tmp_path, **more):
    where = tmp_path / "model"
    folder(where, begins=False)
    settings = {
        "output_dir": str(tmp_path / "trl"), "use_cpu": True, "bf16": False, "num_generations": 4,
        "per_device_train_batch_size": 8, "max_completion_length": 7, "learning_rate": 0.5, "report_to": [],
        "save_strategy": "no", "max_steps": 1, "disable_tqdm": True, "optim": "sgd", "lr_scheduler_type": "constant",
        "max_grad_norm": 1.0, "logging_strategy": "no", "reward_weights": [1.0, -0.5], "seed": 3,
    }  # fmt: skip
    inner = AutoTokenizer.from_pretrained(where)
    inner.pad_token, inner.padding_side = "<pad>", "left"
    # A fingerprint of our own: `datasets` cannot hash a table once polars is loaded.
    data = Dataset(InMemoryTable.from_pydict({"prompt": PROMPTS}), fingerprint="septet")
    return EMPGTrainer(
        AutoModelForCausalLM.from_pretrained(where), [letters, long], EMPGConfig(**{**settings, **more}),
        train_dataset=data, processing_class=inner,
    )  # fmt: skip


class Watched:
    """One step of a trainer: its batches, the losses that it found for them, gradients and weights."""

    def __init__(self, made):
        self.batches, self.losses, self.rewards = [], [], None
        self.before = {name: weight.detach().clone() for name, weight in made.model.named_parameters()}
        compute, step = made._compute_loss, torch.optim.SGD.step
        self.gradients = {}

        def computing(model, inputs):
            loss = compute(model, inputs)
            self.batches.append(inputs)
            self.losses.append(loss.item())
            return loss

        def stepping(optimiser, *arguments, **named):
            self.gradients = {name: weight.grad.clone() for name, weight in made.model.named_parameters()}
            return step(optimiser, *arguments, **named)

        made._compute_loss = computing
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.optim.SGD, "step", stepping)
            made.train()
        self.after = {name: weight.detach().clone() for name, weight in made.model.named_parameters()}
        self.made = made


def rollout_of(batches):
    """TRL's batches, padded on the left, as our completions, one to a prompt: TRL has shuffled them."""
    prompts, tokens, lengths = [], [], []
    for batch in batches:
        for row in range(len(batch["completion_ids"])):
            prompts.append(batch["prompt_ids"][row][batch["prompt_mask"][row].bool()].tolist())
            lengths.append(int(batch["completion_mask"][row].sum()))
            tokens.append(batch["completion_ids"][row])
    width = max(len(row) for row in tokens)
    ids = torch.stack([torch.nn.functional.pad(row, (0, width - len(row))) for row in tokens])
    blank = torch.zeros(ids.shape)
    return Rollout(prompts, 1, ids, torch.tensor(lengths), blank, torch.ones(len(ids), dtype=bool))


def ours(watched, method):
    """The policy with the first weights, the rollout, and what it teaches by our own rewards and reference."""
    where = watched.made.model.config.name_or_path
    policy = Policy(AutoModelForCausalLM.from_pretrained(where))
    rollout = rollout_of(watched.batches)
    inner = watched.made.processing_class
    texts = [inner.decode(ids, skip_special_tokens=True) for ids in rollout.completions()]
    reward = torch.tensor(letters(texts)) - 0.5 * torch.tensor(long(texts))
    old, _ = log_probabilities(policy, rollout, row_tokens=1, batch_tokens=1000)
    what = lesson(method, reward, old, rollout.mask, samples=1, limit=7, reference=old if method.kl_loss else None)
    return policy, rollout, what


SETTINGS = [
    ({}, {}),
    ({"loss_type": "dr_grpo"}, {"average": "constant"}),
    ({"beta": 0.1, "entropy_coef": 0.05}, {"kl_loss": 0.1, "entropy": 0.05}),
]


@pytest.mark.parametrize(("theirs", "settings"), SETTINGS)
def test_loss_gradient_and_step_are_ours(tmp_path, theirs, settings):
    watched, method = Watched(trainer(tmp_path, **theirs)), Method(**settings)
    policy, rollout, what = ours(watched, method)
    given = torch.cat([batch["advantages"] for batch in watched.batches])
    torch.testing.assert_close(given, what.advantage[:, 0])
    masters = Masters(policy)
    optimiser = torch.optim.SGD(masters.weights, lr=0.5)
    rows = log_pi_and_entropy(policy, rollout)
    loss = batch_loss(method, what, *rows, None)
    assert len(watched.losses) == 1 and watched.losses[0] == pytest.approx(loss.item(), abs=1e-6)
    loss.backward()
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in policy.parameters()])
    scale = min(1.0, 1.0 / float(norm))
    for name, weight in policy.lm.named_parameters():
        torch.testing.assert_close(watched.gradients[name], weight.grad * scale, atol=1e-6, rtol=1e-4)
    settled = {"temperature": 1.0, "max_grad_norm": 1.0, "row_tokens": 1000, "batch_tokens": 10_000}
    improve(policy, masters, optimiser, rollout, what, method, **settled)
    for name, weight in policy.lm.named_parameters():
        torch.testing.assert_close(watched.after[name], weight.detach(), atol=1e-6, rtol=1e-5)
        assert not torch.equal(watched.after[name], watched.before[name]) or not weight.grad.any()


def log_pi_and_entropy(policy, rollout):
    """A naive twin: one completion at a time by the model's own pass, with gradients."""
    rows = []
    for k, tokens in enumerate(rollout.completions()):
        prompt = rollout.prompts[k]
        logits = policy.lm(input_ids=torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        log_p = torch.log_softmax(logits, -1)
        chosen = log_p.gather(1, torch.tensor(tokens)[:, None])[:, 0]
        blank = torch.zeros(rollout.tokens.shape[1] - len(tokens))
        rows.append([torch.cat([one, blank]) for one in (chosen, -(log_p.exp() * log_p).sum(-1))])
    return (torch.stack(parts) for parts in zip(*rows, strict=True))


def test_parts_of_a_step_add_up_to_the_whole_loss_and_share_the_batch_s_statistics(tmp_path):
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    watched = Watched(trainer(tmp_path, **settings))
    policy, rollout, what = ours(watched, Method())
    loss = batch_loss(Method(), what, *log_pi_and_entropy(policy, rollout), None)
    assert len(watched.losses) == 2 and sum(watched.losses) == pytest.approx(loss.item(), abs=1e-6)


def test_a_second_pass_has_no_ratio(tmp_path):
    """With old log-probabilities, GRPO would weigh by exp(log pi - old): here they change nothing."""
    made = trainer(tmp_path, num_iterations=2, max_steps=2)
    watched = Watched(made)
    assert len(watched.batches) == 2 and "old_per_token_logps" in watched.batches[1]
    spoiled = {**watched.batches[1], "old_per_token_logps": watched.batches[1]["old_per_token_logps"] - 5}
    with torch.no_grad():
        values = [made._compute_loss(made.model, batch).item() for batch in (watched.batches[1], spoiled)]
    assert values[0] == values[1]


def test_advantages_by_hand_and_without_an_opinion():
    rewards = torch.tensor([[1.0, 0.0], [0.0, 2.0], [float("nan"), 4.0], [float("nan")] * 2])
    found = empg_advantages(rewards, torch.tensor([1.0, 0.5]))
    total = torch.tensor([1.0, 1.0, 2.0])
    z = (total - 4 / 3) / ((2 / 9) ** 0.5)
    torch.testing.assert_close(found, torch.cat([torch.tanh(z / 2), torch.zeros(1)]))


def test_the_log_shows_the_advantages_that_were_used(tmp_path):
    watched = Watched(trainer(tmp_path))
    _, rollout, what = ours(watched, Method())
    inner, logged = watched.made.processing_class, watched.made._logs
    texts = [inner.decode(ids, skip_special_tokens=True) for ids in rollout.completions()]
    used = dict(zip(texts, what.advantage[:, 0].tolist(), strict=True))
    found = dict(zip(logged["completion"], logged["advantages"], strict=True))
    assert len(found) == 8 and found == pytest.approx(used)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_type": "dapo"}, "args.loss_type: expected one of grpo, dr_grpo, found dapo"),
        ({"importance_sampling_level": "sequence"}, "args.importance_sampling_level: expected token"),
        ({"top_entropy_quantile": 0.5}, "args.top_entropy_quantile: expected 1.0"),
        ({"use_bias_correction_kl": True}, "args.use_bias_correction_kl: expected False"),
        ({"use_adaptive_entropy": True, "entropy_coef": 0.1}, "use_adaptive_entropy: expected false"),
    ],
)
def test_settings_that_this_loss_does_not_have_are_one_line(tmp_path, settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        trainer(tmp_path, **settings)


def test_a_batch_of_images_is_refused(tmp_path):
    made = trainer(tmp_path)
    with pytest.raises(InputError, match="batch: expected prompts of text"):
        made._compute_loss(made.model, {"pixel_values": torch.zeros(1)})
