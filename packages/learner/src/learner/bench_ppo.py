"""PPO's rows of the bench."""

from typing import Any


def rows(quick: bool) -> list[dict[str, Any]]:
    """Environment steps per second of PPO at Stable-Baselines3's defaults, one core."""
    return []
