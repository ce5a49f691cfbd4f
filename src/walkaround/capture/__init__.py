"""What the input is: a video or a folder of photos, its size, timing, colours and first scores."""

from walkaround.capture.inspect import CaptureOptions, inspect_capture

__all__ = ["CaptureOptions", "inspect_capture"]
