"""What a fast restoration tells while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from walkaround.types import Float32Array


@dataclass(frozen=True, kw_only=True)
class Told:
    """How far it is.

    Attributes
    ----------
    share
        0..1 of the work.
    loss
        Of the last iteration.
    picture
        Gives the picture as it is, (H, W, C); costs something, so call it now and then.
    iteration
        Of the network at work; a task may train several, one after the other.
    """

    share: float
    loss: float
    picture: Callable[[], Float32Array]
    iteration: int = 0


Listen = Callable[[Told], None]


def unheard(told: Told) -> None:
    """Listen to nothing."""
