"""Environments of a purpose that Gymnasium steps: a user's own among them."""

from septet.metaexplore.environments import Environments
from septet.sampler.gymnasium_batch import GymnasiumBatch


class GymnasiumEnvironments(Environments, GymnasiumBatch):
    """See `septet.metaexplore.environments.Environments`."""
