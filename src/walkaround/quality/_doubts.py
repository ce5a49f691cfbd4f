"""Signs that a sequence was compared with the truth of something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkaround.quality.truth import Truth
from walkaround.types import View

if TYPE_CHECKING:
    from walkaround.quality.evaluate import CameraErrors, MaskErrors

_QUESTION = "Is it the truth of this capture?"


def find_doubts(
    truth: Truth,
    views: dict[str, View],
    *,
    num_frames: int,
    num_known: int,
    num_source_frames: int,
    cameras: CameraErrors,
    masks: MaskErrors | None,
) -> tuple[str, ...]:
    """Return sentences about what cannot be true of one and the same capture; usually none.

    Parameters
    ----------
    num_known
        Frames of the sequence that the truth knows.
    num_source_frames
        Frames of the source; 0 when the record does not say.
    """
    found = []
    if num_known < num_frames:
        found.append(f"The truth knows {num_known} of the sequence's {num_frames} frames.")
    last = max(frame.source_index for frame in truth.frames)
    if 0 < num_source_frames <= last:
        found.append(f"The truth has a frame {last}, but the source has only {num_source_frames} frames.")
    sizes = {frame.size_wh for frame in truth.frames if frame.size_wh is not None}
    ours = {(view.camera.width, view.camera.height) for view in views.values()}
    if sizes and ours and not any(_same_shape(a, b) for a in sizes for b in ours):
        seen, known = sorted(ours)[0], sorted(sizes)[0]
        found.append(
            f"The sequence's images are {seen[0]} x {seen[1]}, the truth's {known[0]} x {known[1]}:"
            " another shape."
        )
    if cameras.centre_median_percent > 10 or cameras.rotation_median_deg > 15:
        found.append(
            f"Half of the cameras are over {cameras.centre_median_percent:.0f} % of the distance to the"
            f" object and {cameras.rotation_median_deg:.0f} degrees away from the truth's."
        )
    elif masks is not None and masks.iou_mean < 0.3:
        found.append(f"The masks hardly meet the truth's (mean IoU {masks.iou_mean:.2f}).")
    return (*found, _QUESTION) if found else ()


def _same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Frames may have been scaled, never cropped: equal proportions, to a pixel."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= max(*a, *b)
