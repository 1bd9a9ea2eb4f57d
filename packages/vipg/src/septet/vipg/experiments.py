"""What the workflow runs: the paper's methods, its baselines, tasks of a few seconds, and those of scale `paper`."""

from septet.config import JobSeeds, SeededRuns
from septet.vipg.config import (
    PPO,
    TRPO,
    VPG,
    ActionSpace,
    Common,
    Environment,
    Method,
    Posterior,
    Quadratic,
    Surface,
    Task,
)


def vpg(**settings: object) -> VPG:
    """A `VPG` with these settings."""
    return VPG(algorithm="vpg", **{"scale_lr_multiplier": 1.0, **settings})


def trpo(**settings: object) -> TRPO:
    """A `TRPO` with these settings."""
    return TRPO(algorithm="trpo", **{"target_kl": 0.02, **settings})


def ppo(**settings: object) -> PPO:
    """A `PPO` with these settings."""
    return PPO(algorithm="ppo", **{"epochs": 5, "scale_lr_multiplier": 1.0, "target_kl": 0.02, **settings})


PLAIN = {"family": "particles", "particles": 1}
TWIN = {"sigma": 0.01, "alphas": [0.0, 0.01]}
ONE = {"sigma": 0.01, "alphas": [0.01]}
TWINS = ["vpg", "v_vpg", "trpo", "v_trpo", "ppo", "v_ppo"]
FAMILIES = ["v_trpo_low_rank", "v_trpo_planar"]
BASELINES = ["svpg", "amortised_svgd", "score", "v_vpg_fixed", "action_sgd", "action_trust"]
LARGE = {"episodes": 48, "iterations": 300, "gamma": 0.995, "hidden": (64, 64)}


class Experiments(SeededRuns, Common):
    """The paper's experiments: `config/papers/vipg.yaml`."""

    methods: dict[str, Method] = {
        "vpg": vpg(**PLAIN),
        "v_vpg": vpg(**TWIN),
        "trpo": trpo(**PLAIN),
        "v_trpo": trpo(sigma=0.01, alphas=[0.0, 0.01, 0.1]),
        "ppo": ppo(**PLAIN),
        "v_ppo": ppo(**TWIN),
        "v_vpg_one": vpg(**ONE),
        "v_trpo_one": trpo(**ONE),
        "v_ppo_one": ppo(**ONE),
        "v_trpo_alphas": trpo(sigma=0.01, alphas=[0.3, 1.0]),
        "v_trpo_low_rank": trpo(family="low_rank", **ONE),
        "v_trpo_planar": trpo(family="planar", **ONE),
        "v_trpo_coupling": trpo(family="coupling", layers=2, **ONE),
        "v_trpo_wide": trpo(sigma=0.3, alphas=[0.0, 0.1]),
        "v_trpo_fixed": trpo(sigma=0.3, freeze_sigma=True),
        "v_vpg_fixed": vpg(sigma=0.01, freeze_sigma=True),
        "svpg": vpg(family="particles", particles=16, gradient="stein", **ONE),
        "amortised_svgd": vpg(gradient="stein", **ONE),
        "score": vpg(gradient="score", **ONE),
        "action_sgd": ActionSpace(algorithm="action_space", alphas=[0.01, 1.0]),
        "action_trust": ActionSpace(algorithm="action_space", update="trust_region", alphas=[0.01, 1.0]),
        "action_sgd_100": ActionSpace(algorithm="action_space", minibatches=100, max_grad_norm=1.0),
        "posterior": Posterior(
            algorithm="posterior", variants=["mean_field", "full", "low_rank", "mean_field_collapse", "full_collapse"]
        ),
        "posterior_modes": Posterior(
            algorithm="posterior", learning_rate=4e-2,
            variants=["mean_field", "full", "planar", "coupling", "svgd", "amortised_svgd"],
        ),
    }  # fmt: skip
    """The plain methods and their twins (section 2.4; those named `_one` have one alpha, that of the claims), the other
    families (2.3), and the baselines (5)."""
    tasks: dict[str, Task] = {
        "quadratic": Quadratic(kind="quadratic"),
        "surface": Surface(kind="surface"),
        "cart_pole": Environment(
            kind="environment", environment="ContinuousCartPole", iterations=30, return_low=20.0, return_high=200.0
        ),
        "pendulum": Environment(
            kind="environment", environment="Pendulum-v1", iterations=50, gamma=0.97, return_low=-1300.0,
            return_high=-150.0,
        ),
        "double_pendulum": Environment(
            kind="environment", environment="InvertedDoublePendulum-v5", options={"time_limit": 100}, iterations=60,
            return_low=60.0, return_high=930.0,
        ),
        "sparse_car": Environment(
            kind="environment", environment="SparseMountainCar", options={"time_limit": 400}, iterations=40,
            gamma=0.995, return_low=0.0, return_high=1.0,
        ),
        "swing_up": Environment(
            kind="environment", environment="DoublePendulumSwingUp", hidden=(100, 50, 25), iterations=100,
            return_low=-1240.0, return_high=-245.0,
        ),
        "swimmer": Environment(
            kind="environment", environment="Swimmer-v5", return_low=0.0, return_high=350.0, **LARGE
        ),
        "half_cheetah": Environment(
            kind="environment", environment="HalfCheetah-v5", return_low=-300.0, return_high=4000.0, **LARGE
        ),
        "hopper": Environment(
            kind="environment", environment="Hopper-v5", return_low=20.0, return_high=3000.0, **LARGE
        ),
    }  # fmt: skip
    """Known posteriors (section 7), the tasks of section 3, a sparse one, and the author's double pendulum."""
    runs: dict[str, list[str]] = {
        "quadratic": ["posterior"],
        "surface": ["posterior_modes"],
        "cart_pole": [*TWINS, "v_trpo_alphas", *FAMILIES, *BASELINES],
        "pendulum": TWINS,
        "double_pendulum": TWINS,
        "sparse_car": ["trpo", "v_trpo_wide", "v_trpo_fixed"],
        "swing_up": [],
        "swimmer": [],
        "half_cheetah": [],
        "hopper": [],
    }
    """Which methods run on which task; an empty list switches a task off."""
    seeds_of: dict[str, JobSeeds] = {"v_trpo_wide/sparse_car": list(range(100, 140))}
    """Seeds of the jobs on a task, or of one job, method/task, in place of `seeds`: 36 successes in a row show a rate
    above nine in ten."""
