"""What the input is: a video or a folder of photos, its size, timing, colours and first scores."""

from typing import TYPE_CHECKING

from walkaround.capture.options import CaptureOptions
from walkaround.lazy import lazy_names

if TYPE_CHECKING:
    from walkaround.capture.inspect import inspect_capture
else:
    __getattr__ = lazy_names(__name__, {"walkaround.capture.inspect": ("inspect_capture",)})

__all__ = ["CaptureOptions", "inspect_capture"]
