"""Figures of the validation: PPO, TRPO and DDPG next to those of Stable-Baselines3 and sb3-contrib."""

from septet.report import charts, theme
from septet.report.charts import Series
from septet.report.draw import BANDS, figure
from septet.report.tables import Paper

PAIRS = [
    ("ppo", "PPO", theme.BLUE, theme.SKY),
    ("trpo", "TRPO", theme.VERMILION, theme.ORANGE),
    ("ddpg", "DDPG", theme.GREEN, theme.BLACK),
]
TASKS = {
    "inverted_pendulum": "InvertedPendulum-v5",
    "double_pendulum": "InvertedDoublePendulum-v5",
    "half_cheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
    "swimmer": "Swimmer-v5",
    "pendulum_offpolicy": "Pendulum-v1",
    "double_pendulum_offpolicy": "InvertedDoublePendulum-v5, off policy",
    "half_cheetah_offpolicy": "HalfCheetah-v5, off policy",
}


SERIES = [
    one
    for method, name, ours, peer in PAIRS
    for one in (Series(method, f"{name}, ours", ours), Series(f"{method}_sb3", f"{name}, peer", peer))
] + [
    Series("ppo_normalised", "PPO, normalised", theme.PURPLE),
    Series("trpo_normalised", "TRPO, normalised", theme.GREY),
]


@figure("The learner next to its peers", BANDS)
def learning_curves(paper: Paper) -> charts.Panels:
    """Mean return of the training episodes since the last point, of this repository's PPO, TRPO and DDPG and of
    Stable-Baselines3's and sb3-contrib's at the same settings, on different random numbers; on HalfCheetah, Hopper and
    Swimmer also of ours with normalised observations.
    """
    return charts.metric_by_task(
        paper,
        "return",
        TASKS,
        SERIES,
        x_title="environment steps per seed",
        y_title="return of training episodes",
        height=200,
        width=250,
    )


FIGURES = [learning_curves]
