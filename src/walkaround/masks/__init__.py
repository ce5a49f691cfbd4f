"""Masks: the object found in 3-D and outlined in every view."""

from typing import TYPE_CHECKING

from walkaround.lazy import lazy_names
from walkaround.masks.options import MasksOptions

if TYPE_CHECKING:
    from walkaround.masks.segment import MasksResult, write_masks
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "walkaround.masks.segment": (
                "MasksResult",
                "write_masks",
            )
        },
    )

__all__ = ["MasksOptions", "MasksResult", "write_masks"]
