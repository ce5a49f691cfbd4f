"""One clip: radiance that moves, recorded with alternating exposures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from walkaround.hdr.clip import Exposed
from walkaround.hdr.synthesis.camera import grade, graded, record
from walkaround.hdr.synthesis.layers import compose, draw_background, draw_thing
from walkaround.hdr.synthesis.options import CameraOptions, ClipOptions
from walkaround.types import Float32Array


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A recorded clip and what the camera looked at."""

    frames: tuple[Exposed, ...]
    truth: tuple[Float32Array, ...]  # each (H, W, 3) 0..1: what saturates the shortest exposure is 1
    exposures: tuple[float, ...]
    """One period."""

    @property
    def period(self) -> int:
        """Number of exposures."""
        return len(self.exposures)


def synthesise_clip(
    background: Float32Array, things: Sequence[Float32Array], options: ClipOptions, *, seed: int
) -> Clip:
    """Make a clip from radiance images.

    The background moves (shift, turn, zoom); ``options.num_layers`` shapes cut out of ``things`` move
    before it. Contrast is graded once, on the middle frame. The same arguments give the same clip.

    Parameters
    ----------
    background
        (h, w, 3) radiance in any unit.
    things
        Textures of what moves, each (h, w, 3) in any unit; taken in turn.

    Raises
    ------
    UsageError
        An option makes no sense.
    """
    options.check()
    rng = np.random.default_rng([seed, 71])
    middle = float(np.median(background)) + 1e-9
    layers = [draw_background(background, options, rng)]
    for number in range(options.num_layers if things else 0):
        texture = things[number % len(things)]
        level = np.float32(middle / (float(np.median(texture)) + 1e-9))
        layers.append(draw_thing(texture * level, options, rng))
    pictures = [compose(tuple(layers), frame, options.size) for frame in range(options.num_frames)]
    scale, power = grade(pictures[len(pictures) // 2], options.saturated_share, options.median_light)
    pictures = [graded(picture, scale, power) for picture in pictures]
    first = int(rng.integers(len(options.exposures)))
    exposures = (*options.exposures[first:], *options.exposures[:first])
    return record_clip(pictures, exposures, options.camera, seed=seed)


def record_clip(
    pictures: Sequence[Float32Array], exposures: tuple[float, ...], camera: CameraOptions, *, seed: int
) -> Clip:
    """Record radiance (1 saturates the shortest exposure) with exposures that alternate.

    Parameters
    ----------
    pictures
        (H, W, 3) each, in time order.
    exposures
        One period, relative to the shortest.
    """
    rng = np.random.default_rng([seed, 72])
    frames = tuple(
        record(picture, exposures[number % len(exposures)], camera, rng)
        for number, picture in enumerate(pictures)
    )
    truth = tuple(np.clip(picture, 0.0, 1.0).astype(np.float32) for picture in pictures)
    return Clip(frames=frames, truth=truth, exposures=exposures)
