"""Before a clip is fused: its exposures and its camera's response."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import InputError
from walkaround.hdr.alignment import aligned_bracket
from walkaround.hdr.brightness import measure_steps
from walkaround.hdr.exposures import Exposures, find_exposures
from walkaround.hdr.options import HdrOptions
from walkaround.hdr.reading import ClipSource
from walkaround.hdr.response import ESTIMATED, Response, estimate_response, known_response
from walkaround.hdr.sliding import slide
from walkaround.types import Progress, no_progress


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What has to be known of a clip to fuse it.

    Attributes
    ----------
    num_frames
        Frames that decode.
    """

    exposures: Exposures
    response: Response
    num_frames: int


def analyse_clip(source: ClipSource, options: HdrOptions, progress: Progress = no_progress) -> Analysis:
    """Find the exposures of a clip and the response of its camera; every frame is read once.

    Raises
    ------
    InputError
        The clip is too short, does not alternate, contradicts the options, or cannot be read.
    UsageError
        An option makes no sense.
    """
    options.check()
    stated = source.response if options.response == "auto" else options.response
    provisional = known_response("srgb" if stated in ESTIMATED else stated)
    steps = measure_steps(source.frames(), provisional, source.num_frames, progress)
    exposures = find_exposures(steps, given_ev=options.given_ev(), exif_ev=source.exif_ev)
    num_frames = len(steps.ev) + 1
    response = find_response(source, options, exposures, num_frames)
    return Analysis(exposures=exposures, response=response, num_frames=num_frames)


def find_response(source: ClipSource, options: HdrOptions, exposures: Exposures, num_frames: int) -> Response:
    """Return the response that is stated, or estimate it from one window in the middle of the clip.

    Raises
    ------
    InputError
        The estimate makes no curve.
    """
    method = source.response if options.response == "auto" else options.response
    if method not in ESTIMATED:
        return known_response(method)
    for _, window in slide(source, exposures, [num_frames // 2], num_frames):
        return estimate_response(aligned_bracket(window, known_response("srgb")), method)
    raise InputError(f"No frame of {source.path} can be read. Pass a clip that plays.")
