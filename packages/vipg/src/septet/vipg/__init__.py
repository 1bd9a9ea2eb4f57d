"""Variational policy gradient: policy weights from a sampler fitted to the posterior of the return."""

__version__ = "0.1.0"
