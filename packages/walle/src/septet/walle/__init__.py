"""The paper WALL-E: PPO with an adaptive KL penalty, parallel samplers, and its experiments."""

__version__ = "0.1.0"
