"""How the tasks look that have no renderer: a few lines and discs, from an observation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from septet.sampler.physics import Array

GROUND, BODY, JOINT, TARGET = "#9a9a9a", "#20639b", "#c8553d", "#3caea3"
"""Colours by what a shape stands for."""


class Shape(NamedTuple):
    """A disc, if there is one point, or a line through several."""

    points: Sequence[tuple[float, float]]
    width: float
    """Diameter of the disc, or width of the line, in the task's own length."""
    colour: str


@dataclass(frozen=True)
class Look:
    """How a task is drawn.

    Attributes:
        view: left, bottom, right and top of what is seen, in the task's own length.
        rate: steps per second of a video.
        shapes: what is seen at an observation ``(obs,)``, the hindmost first.
    """

    view: tuple[float, float, float, float]
    rate: float
    shapes: Callable[[Array], list[Shape]]
