"""Clips of alternating exposures whose radiance is known: for training, for tests, for benchmarks."""

from walkaround.hdr.synthesis.clip import Clip, record_clip, synthesise_clip
from walkaround.hdr.synthesis.options import CameraOptions, ClipOptions
from walkaround.hdr.synthesis.sources import HELD_OUT, Source, find_sources

__all__ = [
    "HELD_OUT",
    "CameraOptions",
    "Clip",
    "ClipOptions",
    "Source",
    "find_sources",
    "record_clip",
    "synthesise_clip",
]
