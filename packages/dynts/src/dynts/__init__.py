"""Thompson sampling in dynamic systems for contextual bandits (Xu, Yu, Turner, Regan, arXiv 1310.5008).

`filter` holds the update and reads like the paper, `schedules` the ways to forget, `worlds` the
simulators, `kernels` the lockstep engine, `agent` the method for use elsewhere.
"""

from dynts.agent import LogisticThompson

__all__ = ["LogisticThompson"]
