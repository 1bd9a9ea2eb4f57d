"""The `train` verb: one method on one task, seed after seed; E-step, M-step, evaluation."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from empg import models, tasks
from empg.behaviours import rates
from empg.config import Chain, Chat, Job, Steps
from empg.engines import Engine, engine
from empg.fleet import Fleet
from empg.forward import log_probabilities
from empg.history import History, score_tables, timing_table
from empg.policy import Masters, Policy
from empg.problems import Problem
from empg.sample import Rollout
from empg.tokens import Tokenizer
from empg.update import improve, lesson
from septet.card import Stopwatch
from septet.checkpoint import Checkpoints, identity
from septet.cli import stop_request
from septet.errors import InputError
from septet.progress import Progress
from septet.scores import write_scores, write_timing
from septet.seeding import stream

PAPER, REAL = "empg", "empgreal"
PACKAGES = ["septet", PAPER]
EXAMPLES = 8


class Run:
    """The trainer's parts and its state; `seed` and `step` say where it stands."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.task.threads)
        self.job, self.fleet = job, Fleet()
        if job.task.prompts < self.fleet.size:
            raise InputError("processes", expected=f"at most one per prompt, {job.task.prompts}", found=self.fleet.size)
        self.questions, self.grade = tasks.load(job)
        self.questions.test[job.task.eval_prompts :] = []
        lm, self.tokenizer = models.load(job)
        self.device = next(lm.parameters()).device
        self.base = {name: value.detach().clone() for name, value in lm.state_dict().items()}
        self.reference: Policy | None = None
        if job.method.needs_reference:
            twin, _ = models.load(job)
            self.reference = Policy(twin.requires_grad_(False))
        self.policy = Policy(lm, critic=job.method.estimator == "ppo")
        self.engine: Engine = engine(job, self.policy, self.tokenizer)
        self.history = History(len(job.seeds), job.task.steps, job.task.eval_every, (EXAMPLES, job.task.limit))
        self.seed = self.step = 0
        self.masters, self.optimiser = self.begin()

    def begin(self) -> tuple[Masters, torch.optim.Optimizer]:
        """Start the current seed with the base's weights; its masters and a fresh optimiser."""
        self.policy.lm.load_state_dict(self.base)
        if self.policy.critic is not None:
            torch.nn.init.zeros_(self.policy.critic.weight)
            torch.nn.init.zeros_(self.policy.critic.bias)
        masters = Masters(self.policy)
        rate = self.job.method.learning_rate or self.job.task.learning_rate
        optimiser = torch.optim.AdamW(
            masters.weights, lr=rate, weight_decay=self.job.weight_decay, fused=self.device.type in ("cpu", "cuda")
        )
        self.engine.refresh(self.policy)
        return masters, optimiser

    def close(self) -> None:
        """Let go of the engine and of the other processes."""
        self.engine.close()
        self.fleet.close()

    @property
    def done(self) -> int:
        """Steps so far, over all seeds."""
        return self.seed * self.job.task.steps + self.step

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
        wanted = range(self.step * size, (self.step + 1) * size)
        orders: dict[int, NDArray[np.int64]] = {}
        chosen = []
        for index in wanted:
            epoch, place = divmod(index, len(every))
            if epoch not in orders:
                orders[epoch] = stream(self.job.root_seed, "order", self.number, epoch).permutation(len(every))
            chosen.append(every[orders[epoch][place]])
        return chosen

    def draw(self, asked: list[Problem], samples: int, *names: str | int) -> Rollout:
        """N completions of each problem; greedy ones if no random stream is named."""
        limit = self.job.task.limit
        first, last = self.fleet.bounds(len(asked))
        uniforms = None
        if names:
            noise = stream(self.job.root_seed, *names)
            uniforms = noise.random((len(asked) * samples, limit), dtype=np.float32)[first * samples : last * samples]
        prompts = [self.tokenizer.encode(problem.prompt) for problem in asked]
        own = self.engine.generate(prompts[first:last], samples, limit, uniforms, self.job.temperature)
        return self.fleet.gather_rollout(own, prompts)

    def judge(self, asked: list[Problem], rollout: Rollout) -> tuple[NDArray[np.float64], list[str]]:
        """Rewards and texts of completions."""
        texts = [self.tokenizer.decode(tokens) for tokens in rollout.completions()]
        repeated = [problem for problem in asked for _ in range(rollout.samples)]
        own = slice(*(end * rollout.samples for end in self.fleet.bounds(len(asked))))
        rewards = self.grade(texts[own], repeated[own], rollout.finished[own].tolist())
        return np.array(self.fleet.gather(rewards)), texts

    def advance(self) -> None:
        """One iteration: E-step, M-step."""
        job, method, task = self.job, self.job.method, self.job.task
        clock = [time.perf_counter()]

        # E-step: draw and score, keep all
        asked = self.batch()
        rollout = self.draw(asked, job.samples, "sample", self.number, self.step)
        clock.append(time.perf_counter())
        reward, texts = self.judge(asked, rollout)
        clock.append(time.perf_counter())

        # M-step: weigh and improve
        room = {"row_tokens": task.row_tokens, "batch_tokens": task.batch_tokens}
        mine = self.fleet.own(range(len(reward)), rollout)
        reference = values = None
        if self.reference is not None:
            reference, _ = log_probabilities(self.reference, rollout, mine, temperature=job.temperature, **room)
        if self.policy.critic is not None:
            _, values = log_probabilities(self.policy, rollout, mine, temperature=job.temperature, **room)
        self.fleet.add(reference, values)
        what = lesson(
            method, torch.tensor(reward, dtype=torch.float32), rollout.log_pi, rollout.mask,
            samples=job.samples, limit=task.limit, reference=reference, values=values,
        )  # fmt: skip
        report = improve(
            self.policy, self.masters, self.optimiser, rollout, what, method,
            temperature=job.temperature, clip_norm=job.clip_norm, **room, fleet=self.fleet,
            at=(self.number, self.step),
        )  # fmt: skip
        self.engine.refresh(self.policy)
        clock.append(time.perf_counter())

        lengths, right = rollout.lengths.numpy(), reward > 0
        groups = reward.reshape(-1, job.samples)
        measured = {
            "reward": float(reward.mean()),
            "length": float(lengths.mean()),
            "correct": float(right.sum()),
            "correct_length": float(lengths[right].sum()),
            "wrong_length": float(lengths[~right].sum()),
            "truncated": float(1 - rollout.finished.float().mean()),
            "silent": float((groups == groups[:, :1]).all(1).mean()),
            "surprise": float(-rollout.log_pi.sum() / rollout.lengths.sum()),
            "kl": report.kl,
            "gradient": report.gradient,
            "trained": float(report.trained),
            **(rates(texts) if self.language else {}),
        }
        self.history.step(self.seed, self.step, measured, np.diff(clock).tolist())
        self.step += 1

    @property
    def language(self) -> bool:
        """Whether completions are language and not digits."""
        return not isinstance(self.job.task, Chain | Steps)

    def evaluate(self) -> None:
        """Accuracy on the test problems, greedy or sampled or both."""
        task, asked = self.job.task, self.questions.test
        point = self.history.points.index(self.step)
        found: dict[str, float] = {}
        plans: list[tuple[str, int, tuple[str | int, ...]]] = []
        if task.eval_samples:
            plans.append(("sampled", task.eval_samples, ("evaluate", self.number, self.step)))
        if task.greedy:
            plans.append(("accuracy", 1, ()))
        for name, samples, names in plans:
            rollout = self.draw(asked, samples, *names)
            reward, _ = self.judge(asked, rollout)
            lengths = rollout.lengths.numpy()
            found[name] = float(reward.mean())
            found["test_length"] = float(lengths.mean())
            found["test_length_correct"] = float(lengths[reward > 0].mean()) if (reward > 0).any() else float("nan")
            if self.language and self.step in (0, task.steps):
                stride = max(1, len(asked) // EXAMPLES) * samples
                self.history.example(int(self.step > 0), self.seed, rollout.completions()[::stride])
        self.history.test(self.seed, point, found)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that the rest of the run depends on; random streams are named, so they have no state."""
        arrays = {"place": np.array([self.seed, self.step]), **self.history.state()}
        for name, weight in zip(self.masters.names, self.masters.weights, strict=True):
            arrays[f"weight.{name}"] = weight.detach().cpu().numpy()
            for key, value in self.optimiser.state.get(weight, {}).items():
                arrays[f"adam.{key}.{name}"] = value.detach().cpu().numpy()
        return arrays

    @torch.no_grad()
    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        self.seed, self.step = (int(value) for value in arrays["place"])
        self.history.restore(arrays)
        for name, weight in zip(self.masters.names, self.masters.weights, strict=True):
            weight.copy_(torch.from_numpy(arrays[f"weight.{name}"]))
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if (saved := arrays.get(f"adam.{key}.{name}")) is not None:
                    self.optimiser.state[weight][key] = torch.from_numpy(saved.copy()).to(weight.device)
        self.masters.publish()
        self.engine.refresh(self.policy)


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    watch = Stopwatch()

    # configuration, data, model
    with (
        closing(Run(job)) as run,
        Checkpoints(
            out / "checkpoint", identity(job.model_dump(mode="json"), PACKAGES, run.questions.origin), run.fleet.leads
        ) as store,
    ):
        task = job.task
        if (saved := store.load()) is not None:
            run.restore(saved[1])
        total = len(job.seeds) * task.steps
        label = f"empg {job.method.name} on {task.name}"
        progress = Progress(label, total, "steps", store.folder, run.done) if run.fleet.leads else None

        # loop
        while run.seed < len(job.seeds):
            if run.step == 0:
                run.evaluate()
            while run.step < task.steps:
                run.advance()
                if run.step in run.history.points:
                    run.evaluate()
                if progress:
                    progress.update(run.done)
                stop = run.fleet.any(stop_request.signal is not None)
                store.safe_point(run.done, run.state, f"step {run.done} of {total}", stop)
            run.next_seed()
        run.close()  # the card counts the processes that have ended
        if progress is None:
            return

        # write
        paper = REAL if isinstance(task, Chat) else PAPER  # reported on its own: it runs on request
        name = job.method.name
        described = {**job.method.model_dump(mode="json", exclude={"name"}), "examples": examples(run)}
        card = watch.card(
            paper=paper,
            verb="train",
            task=task.name,
            methods={name: described},
            seeds=job.seeds,
            config=job,
            packages=PACKAGES,
            libraries=["numpy", "polars", "torch", "transformers"],
            steps=total * task.prompts * job.samples,
            data=run.questions.origin,
        )
        write_timing(out / "timing.parquet", [timing_table(run.history, paper, name, task.name, job.seeds[0])])
        write_scores(out / "scores.parquet", score_tables(run.history, paper, name, task.name, job.seeds, run.language))
        card.write(out / "run.json")


def examples(run: Run) -> list[dict[str, str]]:
    """Test prompts with the first seed's completions before and after, for tasks in language."""
    if not run.language:
        return []
    asked = run.questions.test[:: max(1, len(run.questions.test) // EXAMPLES)]
    before, after = run.history.arrays["examples"][:, 0]
    return [
        {
            "prompt": _shown(problem.prompt, run.tokenizer),
            "before": run.tokenizer.decode([token for token in old.tolist() if token >= 0]),
            "after": run.tokenizer.decode([token for token in new.tolist() if token >= 0]),
            "answer": problem.answer,
        }
        for problem, old, new in zip(asked, before, after, strict=False)
    ]


def _shown(prompt: str, tokenizer: Tokenizer) -> str:
    """The question of a prompt, without earlier turns and the marks of its chat template."""
    text = tokenizer.decode(tokenizer.encode(prompt))
    return text.rpartition("user\n")[2].removesuffix("assistant\n").strip()
