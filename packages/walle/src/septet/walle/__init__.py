"""The paper WALL-E: PPO with an adaptive KL penalty, parallel samplers, and its experiments."""
