"""Thompson sampling in dynamic systems for contextual bandits (Xu, Yu, Turner, Regan, arXiv 1310.5008).

`filter` holds the update and reads like the paper, `schedules` the ways to forget, `worlds` the
simulators, `disjoint` and `shared` the lockstep engines, `agent` the method for use elsewhere. `adapters`
gives it the verbs of other libraries, `logged`, `replay` and `off_policy` evaluate it on logged clicks.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from septet.dynts.agent import LogisticThompson

__version__ = "0.1.0"
__all__ = ["LogisticThompson"]


def __getattr__(name: str) -> Any:
    """Import `LogisticThompson` when it is asked for: reading the configuration needs no compiled code."""
    if name == "LogisticThompson":
        from septet.dynts.agent import LogisticThompson

        return LogisticThompson
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
