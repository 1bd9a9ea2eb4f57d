"""The tasks that this package adds to those of `septet.sampler`."""

from septet import sampler
from septet.vipg import sparse, swing_up

OWN = {sparse.NAME: sparse.mountain_car, swing_up.NAME: swing_up.swing_up}


def register() -> None:
    """Make them known to `septet.sampler.make`."""
    sampler.TASKS.update(OWN)
