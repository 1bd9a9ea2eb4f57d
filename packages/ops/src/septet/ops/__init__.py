"""What stands around a run: plan it, follow it, trace a point, compare, publish, describe and track what came."""

__version__ = "0.1.0"
