"""About thirty sharp, evenly spaced, distinct stills of a capture, and how much moves between them."""

from walkaround.frames.extract import FramesOptions, FramesResult, extract_frames

__all__ = ["FramesOptions", "FramesResult", "extract_frames"]
