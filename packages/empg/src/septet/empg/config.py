"""Configuration of the paper's experiments: methods, models, tasks, and the jobs made of them.

Sections are those of `docs/papers/empg.md`.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from septet.config import PLACE, Seeds, Settings


class Method(Settings):
    """One method: how rewards become advantages, and how the M-step uses them."""

    name: str = ""
    """Name of the method; filled in by the workflow for a job."""
    estimator: Literal["empg", "reinforce", "reinforce_pp", "grpo", "dr_grpo", "rloo", "ppo", "raft"] = "empg"
    """Where the advantage comes from (section 2)."""
    standardise: bool = True
    """empg: standardise over the whole batch; off leaves the raw reward."""
    sigmoid: bool = True
    """empg: squash the standardised reward."""
    baseline: Literal["half", "mean", "none"] = "half"
    """empg: b, subtracted from the squashed reward (pitfall 3)."""
    level: Literal["auto", "trajectory", "token"] = "auto"
    """empg: statistics over completions or over tokens; auto is per token when KL is in the reward (pitfall 6)."""
    keep: Literal["correct", "best"] = "correct"
    """raft: learn from all correct completions (online ReST-EM) or from the best one of each prompt (RAFT)."""
    ratio: Literal["none", "plain", "clip", "sequence"] = "none"
    """Importance ratio in the loss: none, without clipping, clipped, or clipped and of whole completions (RLOO)."""
    clip: float = Field(default=0.2, ge=0.0)
    """Half-width of the clip range of the ratio, and of PPO's value."""
    average: Literal["sequence", "token", "constant", "sum"] = "sequence"
    """How tokens are averaged: each completion first, all alike, or by the length limit (pitfall 5); `sum` adds up a
    completion's tokens, as the log-probability of the whole completion does (RLOO)."""
    inner_steps: int = Field(default=1, ge=1)
    """M, gradient steps on one rollout batch; 1 in the published runs."""
    max_kl: float | None = Field(default=None, gt=0.0)
    """Stop the inner steps once KL(old || new) per token (k3, over all completions) passes this (pitfall 4)."""
    kl_loss: float = Field(default=0.0, ge=0.0)
    """beta, coefficient of the k3 term to the reference (equation 14)."""
    kl_reward: float = Field(default=0.0, ge=0.0)
    """c, coefficient of the KL to the reference in the token reward."""
    entropy: float = Field(default=0.0, ge=0.0)
    """eta, coefficient of the token entropy."""
    gae_lambda: float = Field(default=0.95, ge=0.0, le=1.0)
    """ppo: lambda of GAE."""
    value_weight: float = Field(default=0.1, gt=0.0)
    """ppo: weight of the critic's loss; the critic is a head on the policy's last hidden state."""
    samples: int | None = Field(default=None, ge=1)
    """N of this method, if it is not the task's."""
    learning_rate: float | None = Field(default=None, gt=0.0)
    """Learning rate of this method, if it is not the task's."""

    @model_validator(mode="after")
    def _one_advantage(self) -> "Method":
        by_token = self.level == "token" or (self.level == "auto" and self.kl_reward > 0)
        if self.ratio == "sequence" and (
            self.estimator in ("reinforce_pp", "ppo") or (self.estimator == "empg" and by_token)
        ):
            raise ValueError("a method with one advantage for a completion, for the ratio of a whole completion")
        return self

    @property
    def needs_reference(self) -> bool:
        """Whether the reference model is needed."""
        return self.kl_loss > 0 or self.kl_reward > 0


class Tiny(Settings):
    """Two-layer transformer over characters, 0.1 M weights, trained to imperfect chains of thought (section 7)."""

    kind: Literal["tiny"]
    """Selects this kind of model."""
    base: Literal["warm", "cold", "steps"]
    """Its demonstrations: `warm` and `cold` of section 7, `steps` of three operations with fillers."""


class Gguf(Settings):
    """A model of a GGUF file that `make models` fetches: SmolLM2-135M-Instruct or Qwen2.5-Coder-0.5B-Instruct."""

    kind: Literal["smollm2", "qwencoder"]
    """Selects this kind of model, and which."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What it computes in; auto is bfloat16 where the device has instructions for it. Master weights are float32."""


class Hub(Settings):
    """A causal language model by its name on the hub, or a local folder."""

    kind: Literal["hub"]
    """Selects this kind of model."""
    name: str
    """Name on the hub, or a folder: a path that begins with / or a full stop."""
    revision: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    """Commit on the hub, all forty digits: a branch or tag may move. Only folders need none."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What it computes in; auto is bfloat16 where the device has instructions for it. Master weights are float32."""

    @model_validator(mode="after")
    def _pinned(self) -> "Hub":
        if not (self.revision or self.name.startswith(("/", "."))):
            raise ValueError(f"revision, the commit of {self.name} on the hub, 40 hexadecimal digits")
        return self


Model = Annotated[Tiny | Gguf | Hub, Field(discriminator="kind")]


class Lora(Settings):
    """A low-rank adapter (Hu et al. 2021) through peft: the base model's weights stay as they are."""

    rank: int = Field(default=16, ge=1)
    """Rank of the adapter's matrices."""
    alpha: int | None = Field(default=None, ge=1)
    """The adapter's product is scaled by alpha / rank; if null, alpha is twice the rank."""
    layers: Literal["all-linear"] | list[str] = "all-linear"
    """Linear layers that get matrices: all but the output head, or those with these names."""


class Protocol(Settings):
    """What tasks share: the model, the batch, the optimiser's step, the evaluation."""

    name: str = ""
    """Name of the task; filled in by the workflow for a job."""
    model: Model
    """The base model."""
    data: str | None = None
    """Prepared problems of the task's jobs, a file that `prepare` makes."""
    weights: str | None = None
    """Prepared weights of the model, a file that `prepare` makes."""
    steps: int = Field(default=60, ge=1)
    """T, rollout batches."""
    prompts: int = Field(default=32, ge=1)
    """B, prompts of a batch."""
    samples: int = Field(default=2, ge=1)
    """N, completions of a prompt."""
    max_completion_length: int = Field(default=40, ge=2)
    """Most tokens of a completion."""
    learning_rate: float = Field(default=1e-4, gt=0.0)
    """AdamW's learning rate: that of the first step after the warm-up."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """The learning rate after the warm-up: constant, or falling to 0 after the last step."""
    warmup: int = Field(default=0, ge=0)
    """Steps in which the learning rate rises linearly; in step t of w it is t / w of its value."""
    lora: Lora | None = None
    """Train an adapter in place of the weights; needs a model other than the tiny one, whole in each process."""
    gradient_checkpointing: Annotated[bool, PLACE] = False
    """Compute each layer again in the backward pass and keep only its input: less memory, about a third more time."""
    eval_every: int = Field(default=5, ge=1)
    """Steps between evaluations; one comes before the first step."""
    eval_prompts: int = Field(default=200, ge=1)
    """Most test prompts of an evaluation."""
    greedy: bool = True
    """Evaluate one greedy completion of each test prompt."""
    eval_samples: int = Field(default=0, ge=0)
    """Completions of each test prompt at temperature 1."""
    threads: Annotated[int, PLACE] = Field(default=1, ge=1)
    """Threads of a job, and processes that grade; several processes share them."""
    row_tokens: Annotated[int, PLACE] = Field(default=1024, ge=1)
    """Most tokens of a training row with several completions packed behind their prompts."""
    batch_tokens: Annotated[Annotated[int, Field(ge=1)] | Literal["auto"], PLACE] = 16384
    """Most tokens of a training batch; larger ones are split and their gradients added. `auto` takes what fits the free
    memory of the GPU or the processor by an estimate of the activations; not tried on a GPU."""
    rows: Annotated[int, PLACE] = Field(default=1024, ge=1)
    """Most completions that a process draws at a time: keys and values of all their tokens are in memory."""
    gpus: int = Field(default=0, ge=0)
    """GPUs of a job; with several, a process on each shares the batch."""
    shard: Literal["none", "full"] = "none"
    """What each process holds: the whole model, or its part of weights, gradients and optimiser state (FSDP)."""
    overrides: dict[str, dict[str, float | int | str | bool | None]] = {}
    """Settings of methods, by name, that hold on this task only: the published runs differ from task to task."""


class Chain(Protocol):
    """Three digits `a+b+c=`, a chain of running sums modulo 10, the answer after `#` (section 7)."""

    kind: Literal["chain"]
    """Selects this kind of task."""


class Steps(Protocol):
    """Three operations `a+b-c+d=` modulo 10, one written step each, fillers that help nobody (lab notes 5.2)."""

    kind: Literal["steps"]
    """Selects this kind of task."""


class Chat(Protocol):
    """`a op b` with digits and +, -, * as a chat with a real language model; it must stop by itself."""

    kind: Literal["chat"]
    """Selects this kind of task."""
    shots: int = Field(default=1, ge=0, le=2)
    """Worked examples before the question, as earlier turns of the chat."""


class Gsm8k(Protocol):
    """GSM8K, 7,473 / 1,319 word problems (section 3)."""

    kind: Literal["gsm8k"]
    """Selects this kind of task."""
    grader: Literal["strict", "normalised"] = "strict"
    """The published form, first `#### number` as a string, or the last number of the text by value."""
    prompt_characters: int = 512
    """Longer prompts are dropped."""
    calculations: int | None = Field(default=None, ge=1)
    """Most calculations in the worked solution of a problem; others are dropped."""
    chat: bool = False
    """Put the prompt into the tokenizer's chat template, as the user's turn; the published runs do not."""
    shots: int = Field(default=0, ge=0, le=2)
    """Worked examples before the question, as earlier turns of the chat: they make answers short."""

    @model_validator(mode="after")
    def _shots_in_a_chat(self) -> "Gsm8k":
        if self.shots and not self.chat:
            raise ValueError("chat, for a task with shots")
        return self


class Competition(Protocol):
    """MATH: levels 3 to 5 for training and 500 test problems, or level 5 alone (section 3)."""

    kind: Literal["math"]
    """Selects this kind of task."""
    prompt_characters: int = 1024
    """Longer prompts are dropped."""
    chat: bool = False
    """The tokenizer's chat template in place of the published one, and single braces."""


class Gym(Protocol):
    """A generated family of the package reasoning-gym, such as `gsm_symbolic`."""

    kind: Literal["gym"]
    """Selects this kind of task."""
    family: str = "gsm_symbolic"
    """Name of the family."""
    problems: int = Field(default=2000, ge=10)
    """Problems made; the first tenth is held out."""


class Reward(Settings):
    """One of the rewards of a user's task."""

    function: str
    """Dotted name of a function with the signature of TRL's rewards, such as `my_rewards.exact`."""
    weight: float = 1.0
    """Its numbers are multiplied by this and added to those of the others."""


class Dataset(Protocol):
    """A user's own task: a file of rows, a prompt made of each, and rewards."""

    kind: Literal["dataset"]
    """Selects this kind of task."""
    train: str
    """File of rows to train on, JSONL or Parquet."""
    test: str | None = None
    """File of rows to evaluate on; if null, rows of the first are held out."""
    held_out: int = Field(default=100, ge=1)
    """Rows held out for the test if there is no file of them."""
    prompt: str = "{{ prompt }}"
    """Jinja template of the prompt, from the columns of a row; a column `prompt` may be a chat, a list of turns."""
    chat: bool = False
    """Put the prompt into the tokenizer's chat template, as the user's turn; a chat always is."""
    system: str | None = None
    """System turn before a chat."""
    rewards: list[Reward] = Field(min_length=1)
    """Functions whose weighted sum is the reward; a completion with a positive one counts as correct."""

    @model_validator(mode="after")
    def _system_in_a_chat(self) -> "Dataset":
        if self.system is not None and not self.chat and self.prompt.replace(" ", "") != "{{prompt}}":
            raise ValueError("chat, for a task with a system turn")
        return self


Task = Annotated[Chain | Steps | Chat | Gsm8k | Competition | Gym | Dataset, Field(discriminator="kind")]


class Common(Settings):
    """What every job of the paper shares."""

    paper: Literal["empg", "empgreal"] = "empg"
    """Where results are reported: the paper's experiments, or those on a real language model, which run on request."""
    root_seed: int = Field(default=2504, ge=0)
    """Root of all random streams."""
    seeds: Seeds = Field(default=list(range(10)), min_length=1)
    """Replicates, one after the other; they share the base model."""
    temperature: float = Field(default=1.0, gt=0.0)
    """Of the sampling, and of the log-probabilities in the loss (section 3)."""
    weight_decay: float = Field(default=0.01, ge=0.0)
    """AdamW (section 3)."""
    max_grad_norm: float = Field(default=1.0, gt=0.0)
    """Largest norm of the gradient (section 3)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model is; auto takes a GPU if there is one, and the processor for the tiny model."""
    engine: Literal["local", "vllm"] = "local"
    """Who draws completions: this process, or vLLM in its own environment."""
    vllm_memory: Annotated[float, PLACE] = Field(default=0.4, gt=0.0, lt=1.0)
    """Share of a GPU's memory that vLLM takes, with the trainer on the same GPU."""
    keep_model: Literal["none", "first", "all"] = "first"
    """Seeds whose trained models are kept, the best and the last, in `model/` beside the scores; each has the size of
    the base model."""


class Job(Common):
    """One training job: one method, one task, all seeds."""

    method: Method
    """The method."""
    task: Task
    """The task."""
    data_file: Annotated[str | None, PLACE] = None
    """The prepared problems, for tasks that read some."""
    weights_file: Annotated[str | None, PLACE] = None
    """The prepared weights of a GGUF file, or those of a tiny base in place of the shipped ones."""

    @model_validator(mode="after")
    def _fits(self) -> "Job":
        if changes := self.task.overrides.get(self.method.name):
            merged = Method.model_validate({**self.method.model_dump(), **changes})
            object.__setattr__(self, "method", merged)  # the model is frozen for its users, not for its validator
        reads = self.task.data or isinstance(self.task, Gsm8k | Competition)
        loads = self.task.weights or isinstance(self.task.model, Gguf)
        for key, name, needed in (("data_file", "data", reads), ("weights_file", "weights", loads)):
            if needed and getattr(self, key) is None:
                expected = f"{key}, an output of prepare (in the workflow: {name} of the task)"
                raise ValueError(f"{expected}, for task {self.task.name}")
        tiny = self.task.model.kind == "tiny"
        if not isinstance(self.task, Dataset) and isinstance(self.task, Chain | Steps) != tiny:
            raise ValueError(f"the tiny model for tasks chain and steps, or one's own, not for {self.task.kind}")
        if self.method.estimator in ("grpo", "dr_grpo", "rloo") and self.samples < 2:
            raise ValueError(f"samples of 2 or more, for {self.method.estimator} compares within a group")
        if tiny and (self.task.lora or self.task.gradient_checkpointing):
            raise ValueError("no lora and no gradient_checkpointing, for the tiny model's pass is written out")
        if self.task.lora and (self.task.shard == "full" or self.engine == "vllm"):
            raise ValueError("shard none and engine local, for a model with lora")
        return self

    @property
    def samples(self) -> int:
        """N."""
        return self.method.samples or self.task.samples

    @property
    def learning_rate(self) -> float:
        """That of the first step after the warm-up."""
        return self.method.learning_rate or self.task.learning_rate


class Preparation(Settings):
    """The `prepare` verb: a data set as a checked table, or a base model."""

    name: Literal["gsm8k", "math", "math5", "smollm2", "qwencoder", "warm", "cold", "steps"]
    """What is made: a table of problems, a dequantised model, or a tiny base from its recipe."""
    data_dir: str | None = None
    """Folder of data sets; if null, the environment's SEPTET_DATA."""
    root_seed: int = Field(default=2504, ge=0)
    """Root of all random streams."""
    base_steps: int = Field(default=1000, ge=1)
    """Steps of a tiny base's training; the shipped ones had 1,000, and 1,400 for `steps`."""
