"""The `train` verb: one method on one task, seed after seed; E-step, M-step, evaluation."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from septet.empg import models, summary, tasks
from septet.empg.adapters import adapt, is_adapted, without_adapter
from septet.empg.behaviours import rates
from septet.empg.config import Chain, Job, Steps
from septet.empg.engines import engine
from septet.empg.forward import log_probabilities
from septet.empg.history import History, score_tables, timing_table
from septet.empg.memory_estimate import Meter, batch_tokens
from septet.empg.policy import Masters, Policy, checkpoint_layers
from septet.empg.problems import Problem
from septet.empg.process_group import Fleet
from septet.empg.sample import Rollout
from septet.empg.saved_models import Models, keep
from septet.empg.self_check import PROMPTS, check_log_probabilities
from septet.empg.shards import cut, local, shard, whole
from septet.empg.tokens import Tokenizer
from septet.empg.update import improve, learning_rate_factor, lesson
from septet.errors import InputError
from septet.run import Run
from septet.seeding import stream

PACKAGES = ["septet", "septet.empg"]
LIBRARIES = ["numpy", "polars", "torch", "transformers"]


class Trainer:
    """The trainer's parts and its state; `seed` and `step` say where it stands."""

    def __init__(self, job: Job, fleet: Fleet | None = None) -> None:
        self.job, self.fleet = job, fleet or Fleet()
        threads = max(1, job.task.threads // self.fleet.size)
        torch.set_num_threads(threads)
        self.sharded, self.device = job.task.shard == "full", models.device_of(job)
        self.meter = Meter(self.device)
        self.questions, self.grade = tasks.load(job, threads)
        self.questions.test[job.task.eval_prompts :] = []
        self._check_processes()
        self.policy, self.tokenizer = self.load(critic=job.method.estimator == "ppo")
        for problems in (self.questions.train, self.questions.test):
            problems[:] = tasks.with_chats(problems, self.tokenizer)
        self.base = {
            name: local(weight).to("cpu", copy=True)
            for name, weight in self.policy.lm.named_parameters()
            if weight.requires_grad
        }
        self.reference: Policy | None = None
        if job.method.needs_reference:  # with an adapter, the policy itself without it; else a second copy
            self.reference = self.policy if is_adapted(self.policy.lm) else self.load(trained=False)[0]
        self.engine = engine(job, self.policy, self.tokenizer)
        self.history = History(
            len(job.seeds), job.task.steps, job.task.eval_every, (summary.EXAMPLES, job.task.max_completion_length)
        )
        self.shown: dict[str, float] = {}
        """What the last step measured, for the job's progress."""
        self.seed = self.step = 0
        self.masters, self.optimiser = self.begin()
        wanted, shrunk = job.task.batch_tokens, job.task.gradient_checkpointing
        self.batch_tokens = batch_tokens(self.policy, shrunk, self.device) if wanted == "auto" else wanted
        self.room = {"row_tokens": job.task.row_tokens, "batch_tokens": self.batch_tokens}
        model = job.task.model
        self.agreement = check_log_probabilities(
            self.engine, self.policy, [self.tokenizer.encode(one.prompt) for one in self.questions.train[:PROMPTS]],
            limit=job.task.max_completion_length, temperature=job.temperature, **self.room, whole=not self.sharded,
            name=getattr(model, "name", model.kind), computes_in=models.computes_in(job),
        )  # fmt: skip
        """Mean difference of log pi per token between sampler, trainer and model, before anything is learned."""

    def _check_processes(self) -> None:
        size = self.fleet.size
        if self.sharded and size == 1:
            launch = "python -m septet.empg.launch N train ..."
            expected = f"none, or several processes ({launch}), to shard the weights over"
            raise InputError("task.shard", expected=expected, found="full in one process")
        for name, count in (("prompts", self.job.task.prompts), ("test prompts", len(self.questions.test))):
            if count < size:
                raise InputError("processes", expected=f"at most one for each of {count} {name}", found=size)

    def load(self, *, critic: bool = False, trained: bool = True) -> tuple[Policy, Tokenizer]:
        """The base model as a policy, sharded if the job says so, and its tokeniser."""
        lm, tokenizer = models.load(self.job, torch.device("cpu") if self.sharded else None)
        lm.requires_grad_(trained)
        if trained and self.job.task.lora is not None:
            lm = adapt(lm, self.job.task.lora)
        if trained and self.job.task.gradient_checkpointing:
            checkpoint_layers(lm)
        policy = Policy(lm, critic=critic)
        if self.sharded:
            shard(policy, self.device, models.computes_in(self.job))
        return policy, tokenizer

    @torch.no_grad()
    def begin(self) -> tuple[Masters, torch.optim.Optimizer]:
        """Start the current seed with the base's weights; its masters and a fresh optimiser."""
        for name, weight in self.policy.lm.named_parameters():
            if name in self.base:
                local(weight).copy_(self.base[name])
        if self.policy.critic is not None:
            for weight in self.policy.critic.parameters():
                local(weight).zero_()
        masters = Masters(self.policy)
        optimiser = torch.optim.AdamW(
            masters.weights, lr=self.job.learning_rate, weight_decay=self.job.weight_decay, fused=True
        )
        self.engine.refresh(self.policy)
        return masters, optimiser

    def close(self) -> None:
        """Let go of the engine and of the other processes."""
        self.engine.close()
        self.fleet.close()

    def next_seed(self) -> None:
        """Begin the next seed, if there is one."""
        self.seed, self.step = self.seed + 1, 0
        if self.seed < len(self.job.seeds):
            self.masters.release()
            self.masters, self.optimiser = self.begin()

    @property
    def number(self) -> int:
        """The seed itself."""
        return self.job.seeds[self.seed]

    def batch(self) -> list[Problem]:
        """The next B training problems: each epoch goes through all of them in an order of its own."""
        every, size = self.questions.train, self.job.task.prompts
        epoch, start = divmod(self.step * size, len(every))
        order: list[int] = []
        while len(order) < start + size:
            order += stream(self.job.root_seed, "order", self.number, epoch).permutation(len(every)).tolist()
            epoch += 1
        return [every[index] for index in order[start : start + size]]

    def draw(self, asked: list[Problem], samples: int, *names: str | int) -> Rollout:
        """N completions of each problem; greedy ones if no random stream is named."""
        limit = self.job.task.max_completion_length
        first, last = self.fleet.bounds(len(asked))
        uniforms = None
        if names:
            noise = stream(self.job.root_seed, *names)
            uniforms = noise.random((len(asked) * samples, limit), dtype=np.float32)[first * samples : last * samples]
        prompts = [self.tokenizer.encode(problem.prompt) for problem in asked]
        own = self.engine.generate(prompts[first:last], samples, limit, uniforms, self.job.temperature)
        return self.fleet.gather_rollout(own)

    def judge(self, asked: list[Problem], rollout: Rollout) -> tuple[NDArray[np.float64], list[str]]:
        """Rewards and texts of completions."""
        texts = [self.tokenizer.decode(tokens) for tokens in rollout.completions()]
        repeated = [problem for problem in asked for _ in range(rollout.samples)]
        own = slice(*(end * rollout.samples for end in self.fleet.bounds(len(asked))))
        rewards = self.grade(texts[own], repeated[own], rollout.finished[own].tolist(), rollout.completions()[own])
        return np.array(self.fleet.gather(rewards)), texts

    def advance(self) -> None:
        """One iteration: E-step, M-step."""
        job, method, task = self.job, self.job.method, self.job.task
        clock = [self.now()]

        # E-step: draw and score, keep all
        asked = self.batch()
        rollout = self.draw(asked, job.samples, "sample", self.number, self.step)
        clock.append(self.now())
        reward, texts = self.judge(asked, rollout)
        means = dict(getattr(self.grade, "means", {}))
        clock.append(self.now())

        # M-step: weigh and improve
        self.engine.rest()
        factor = learning_rate_factor(self.step, task.steps, task.warmup, task.schedule)
        for group in self.optimiser.param_groups:
            group["lr"] = job.learning_rate * factor
        mine = self.fleet.own(range(len(reward)), rollout)
        rounds = self.fleet.most if self.sharded else None
        passing: dict[str, Any] = {**self.room, "temperature": job.temperature, "rounds": rounds}
        reference = values = None
        if self.reference is not None:
            with without_adapter(self.reference.lm):
                reference, _ = log_probabilities(self.reference, rollout, mine, **passing)
        if self.policy.critic is not None:
            _, values = log_probabilities(self.policy, rollout, mine, **passing)
        self.fleet.add(reference, values)
        what = lesson(
            method, torch.tensor(reward, dtype=torch.float32), rollout.log_pi, rollout.mask,
            samples=job.samples, limit=task.max_completion_length, reference=reference, values=values,
        )  # fmt: skip
        report = improve(
            self.policy, self.masters, self.optimiser, rollout, what, method,
            temperature=job.temperature, max_grad_norm=job.max_grad_norm, **self.room, fleet=self.fleet,
            at=(self.number, self.step),
        )  # fmt: skip
        self.engine.refresh(self.policy)
        clock.append(self.now())

        lengths, right, groups = rollout.lengths.numpy(), reward > 0, reward.reshape(-1, job.samples)
        measured = {
            "reward": float(reward.mean()),
            "length": float(lengths.mean()),
            "correct": float(right.sum()),
            "correct_length": float(lengths[right].sum()),
            "wrong_length": float(lengths[~right].sum()),
            "truncated": float(1 - rollout.finished.float().mean()),
            "zero_variance_groups": float((groups == groups[:, :1]).all(1).mean()),
            "negative_log_likelihood": float(-rollout.log_pi.sum() / rollout.lengths.sum()),
            "kl": report.kl,
            "gradient": report.gradient,
            "trained": float(report.trained),
            **(rates(texts) if self.language else {}),
        }
        seconds = np.diff(clock).tolist()
        self.history.step(self.seed, self.step, measured, seconds)
        drawn = float(rollout.lengths.sum()) / max(sum(seconds), 1e-9)
        self.shown = {name: measured[name] for name in ("reward", "kl", "length")}
        self.shown |= {"tokens_per_second": drawn, **means}
        if reference is not None:
            apart = (rollout.log_pi - reference.cpu()) * rollout.mask
            self.shown["kl_to_base"] = float(apart.sum() / rollout.mask.sum())
        self.step += 1

    def now(self) -> float:
        """Seconds, once the device has done what it was asked."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @property
    def language(self) -> bool:
        """Whether completions are language and not digits."""
        return not isinstance(self.job.task, Chain | Steps)

    def evaluate(self) -> None:
        """Accuracy on the test problems, greedy or sampled or both."""
        task, asked = self.job.task, self.questions.test
        point = self.history.points.index(self.step)
        found: dict[str, float] = {}
        plans: list[tuple[str, int, tuple[str | int, ...]]] = [
            ("sampled", task.eval_samples, ("evaluate", self.number, self.step)),
            ("accuracy", int(task.greedy), ()),
        ]
        for name, samples, names in plans:
            if not samples:
                continue
            if not names and self.step == 0 and self.seed > 0:  # all seeds share the base, which answers as before
                found |= self.history.tested(0, point, (name, "test_length", "test_length_correct"))
                continue
            rollout = self.draw(asked, samples, *names)
            reward, _ = self.judge(asked, rollout)
            lengths = rollout.lengths.numpy()
            found[name] = float(reward.mean())
            found["test_length"] = float(lengths.mean())
            found["test_length_correct"] = float(lengths[reward > 0].mean()) if (reward > 0).any() else float("nan")
            if self.language and self.step in (0, task.steps):
                stride = summary.stride(len(asked)) * samples
                self.history.example(int(self.step > 0), self.seed, rollout.completions()[::stride])
        self.history.test(self.seed, point, found)

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that the next step depends on; random streams are named, so they have no state.

        Sharded arrays are put together, which all processes have to do; the one that writes files keeps them. To set is
        to resume.
        """
        arrays = {"place": np.array([self.seed, self.step])}
        for name, cut_like, weight in self.masters.each():
            parts = {f"weight.{name}": weight.detach()}
            parts |= {f"adam.{key}.{name}": value for key, value in self.optimiser.state.get(weight, {}).items()}
            for key, part in parts.items():
                array = whole(cut_like, part) if part.dim() else part  # Adam's count of steps is one number
                if self.fleet.leads:
                    arrays[key] = array.cpu().numpy()
        return arrays

    @state.setter
    @torch.no_grad()
    def state(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.seed, self.step = (int(value) for value in arrays["place"])
        for name, cut_like, weight in self.masters.each():
            weight.copy_(cut(cut_like, torch.from_numpy(arrays[f"weight.{name}"])))
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if (saved := arrays.get(f"adam.{key}.{name}")) is not None:
                    array = torch.from_numpy(saved)
                    part = cut(cut_like, array).clone() if array.dim() else array
                    self.optimiser.state[weight][key] = part.to(weight.device)
        self.masters.publish()
        self.engine.refresh(self.policy)


def train(job: Job, out: Path) -> None:
    """Run one method on one task: OUT/scores.parquet, OUT/timing.parquet, OUT/model, and finally OUT/run.json."""
    paper, task, name, seeds, fleet = job.paper, job.task, job.method.name, job.seeds, Fleet()
    with (
        Run(
            out, job, paper=paper, method=name, task=task.name, seeds=seeds, packages=PACKAGES, libraries=LIBRARIES,
            processes=fleet,
        ) as run,
        closing(Trainer(job, fleet)) as trainer,  # data, model
    ):  # fmt: skip
        # loop
        total, history = len(seeds) * task.steps, trainer.history
        state = {"trainer": trainer, "history": history}
        for _ in run.loop(total, state, unit="steps", data=trainer.questions.origin):
            if trainer.step == 0:
                trainer.evaluate()
            trainer.advance()
            run.note(**trainer.shown)
            if trainer.step in history.points:
                trainer.evaluate()
                keep(trainer, run.scratch)
            if trainer.step == task.steps:
                trainer.next_seed()
        trainer.close()  # the card counts the processes that have ended

        # write
        settings = job.method.model_dump(mode="json", exclude={"name"})
        saved = Models(trainer, run.scratch, out)
        run.write(
            score_tables(history, paper, name, task.name, seeds, trainer.language),
            methods={
                name: {
                    **settings,
                    **summary.cost(trainer),
                    "examples": summary.examples(trainer),
                    "models": saved.described() if fleet.leads else {},
                }
            },
            steps=total * task.prompts * job.samples,
            timing=timing_table(history, paper, name, task.name, seeds[0]),
            beside=saved.write,
        )
