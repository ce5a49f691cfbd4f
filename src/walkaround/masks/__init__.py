"""Masks: the object found in 3-D and outlined in every view."""

from walkaround.masks.options import MasksOptions
from walkaround.masks.segment import MasksResult, write_masks

__all__ = ["MasksOptions", "MasksResult", "write_masks"]
