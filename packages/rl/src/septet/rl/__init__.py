"""Policy learning with seeds in lockstep: VPG, TRPO, PPO, DDPG."""
