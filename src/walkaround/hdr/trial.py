"""Methods on synthetic clips of radiance images: what ``walkaround hdr-eval`` and the benchmark run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from walkaround.errors import UsageError
from walkaround.hdr.clip import FuseWindow
from walkaround.hdr.evaluation import ClipScores, Viewing, score_clip
from walkaround.hdr.synthesis.clip import Clip, synthesise_clip
from walkaround.hdr.synthesis.options import ClipOptions
from walkaround.hdr.synthesis.sources import Source, leaves_source
from walkaround.hdr.windows import window_around
from walkaround.types import Float32Array

RATIOS = {2: (1.0, 8.0), 3: (1.0, 4.0, 16.0)}
"""Exposures relative to the shortest, as the papers measure them."""


@dataclass(frozen=True, kw_only=True)
class TrialOptions:
    """Which clips are made."""

    exposures: tuple[int, ...] = (2, 3)
    """Numbers of exposures: 2 stands for the ratios 1, 8 and 3 for 1, 4, 16."""
    num_frames: int = 6
    """Frames that are scored of each clip, a multiple of the exposures; their windows reach beyond."""
    clips: int = 1
    """Clips of each radiance image."""
    seed: int = 0
    """Of motion, things and noise."""
    clip: ClipOptions = field(default_factory=ClipOptions)
    """Size, motion and camera; its exposures and number of frames are set from above."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        if not self.exposures or any(count not in RATIOS for count in self.exposures):
            raise UsageError(f"hdr-eval: exposures is {self.exposures}; it must be 2, 3 or both.")
        if self.num_frames < 1 or any(self.num_frames % count for count in self.exposures):
            raise UsageError(
                f"hdr-eval: num_frames is {self.num_frames}; it must be a multiple of "
                f"{' and '.join(map(str, self.exposures))}."
            )
        if self.clips < 1:
            raise UsageError(f"hdr-eval: clips is {self.clips}; it must be at least 1.")


def make_clips(sources: Sequence[Source], options: TrialOptions) -> Iterator[tuple[str, Clip]]:
    """Make the clips of a trial, with a name each. What moves is cut out of the next source and of leaves.

    The same sources and options give the same clips.
    """
    options.check()
    for number, source in enumerate(sources):
        background = source.read()
        things = [sources[(number + 1) % len(sources)].read(), leaves_source(options.seed).read()]
        for count in options.exposures:
            for take in range(options.clips):
                chosen = clip_options(options.clip, count, options.num_frames)
                seed = 1000 * options.seed + 10 * take + count
                name = f"{source.name}-{count}" + (f"-{take}" if options.clips > 1 else "")
                yield name, synthesise_clip(background, things, chosen, seed=seed)


def clip_options(options: ClipOptions, count: int, num_frames: int) -> ClipOptions:
    """Return the options of a clip of ``count`` exposures that has whole windows for ``num_frames``."""
    values = {name: getattr(options, name) for name in options.__dataclass_fields__}
    values |= {"exposures": RATIOS[count], "num_frames": num_frames + 2 * (count - 1)}
    return ClipOptions(**values)


def merge_clip(clip: Clip, method: FuseWindow) -> list[Float32Array]:
    """Merge the frames of a clip whose windows lie in it."""
    return [method(window_around(clip.frames, n, clip.period)).radiance for n in scored(clip)]


def scored(clip: Clip) -> range:
    """Return the numbers of the frames whose windows lie in the clip."""
    return range(clip.period - 1, len(clip.frames) - clip.period + 1)


def try_method(
    name: str, clip: Clip, method: FuseWindow, label: str, viewing: Viewing, *, video: bool = True
) -> tuple[ClipScores, list[Float32Array]]:
    """Score a method on a clip; return the frames too."""
    results = merge_clip(clip, method)
    numbers = scored(clip)
    scores = score_clip(
        [np.asarray(frame) for frame in results],
        [clip.truth[n] for n in numbers],
        exposures=[clip.frames[n].exposure for n in numbers],
        name=name,
        method=label,
        viewing=viewing,
        video=video,
    )
    return scores, results
