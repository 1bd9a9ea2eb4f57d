"""The paper WALL-E: PPO with an adaptive KL penalty, and its experiments. Nothing else in learner imports it."""
