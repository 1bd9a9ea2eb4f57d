"""Stochastic variance reduction for policy gradients inside a trust region, with its controls and rivals."""

__version__ = "0.1.0"
