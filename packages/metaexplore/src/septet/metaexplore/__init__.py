"""Learning to explore with a meta-policy gradient: a teacher gathers the data that make a DDPG student improve."""

__version__ = "0.1.0"
