"""Tools around a run: plan it, follow it, trace a point, and compare, publish, describe and track its results."""

__version__ = "0.1.0"
