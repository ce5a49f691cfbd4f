"""About thirty sharp, evenly spaced, distinct stills of a capture, and how much moves between them."""

from typing import TYPE_CHECKING

from walkaround.frames.options import FramesOptions
from walkaround.lazy import lazy_names

if TYPE_CHECKING:
    from walkaround.frames.extract import FramesResult, extract_frames
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "walkaround.frames.extract": (
                "FramesResult",
                "extract_frames",
            )
        },
    )

__all__ = ["FramesOptions", "FramesResult", "extract_frames"]
