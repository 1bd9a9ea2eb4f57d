"""Policy learning with seeds in lockstep: VPG, TRPO, PPO, DDPG."""

__version__ = "0.1.0"
