"""Holes of a depth map: the algorithm lives in ``geometry``, where the stage ``depth`` finds it too."""

from walkaround.geometry.completion import CompletionOptions, complete_depth

__all__ = ["CompletionOptions", "complete_depth"]
