"""The one table of what can be wrong with a scene, and what ``walkaround repair`` does about it.

docs/audit.md prints this table.
"""

from __future__ import annotations

from dataclasses import dataclass

SEVERITIES = ("error", "warning", "note")
"""``error``: the scene cannot be used as it is; ``warning``: a part of it cannot; ``note``: no fault."""

ACTIONS = {
    "": "nothing: it must be downloaded or filmed again",
    "mend": "the COLMAP files are mended; no stage runs",
    "resize": "the masks are resized to their images; no stage runs",
    "cameras": "cameras are estimated from the images",
    "masks": "depth and masks are computed; good masks stay",
    "depth": "depth is computed",
    "cloud": "depth, and the cloud from it, are computed",
}
"""What repair does -> in words. In the order in which a scene's actions are taken, after the first."""


@dataclass(frozen=True, kw_only=True)
class FindingKind:
    """One row of the table."""

    code: str
    severity: str
    repair: str
    """The usual action, a key of :data:`ACTIONS`; a finding itself may need another one."""
    text: str
    """What it means, for a person."""


KINDS: tuple[FindingKind, ...] = (
    # images
    FindingKind(code="no_images", severity="error", repair="",
                text="There are cameras or masks, but no images."),
    FindingKind(code="unreadable_image", severity="error", repair="mend",
                text="An image is empty, or no image at all; repaired scenes leave it out."),
    FindingKind(code="cut_off_image", severity="error", repair="mend",
                text="An image's file ends too early or is damaged inside; repaired scenes leave it out."),
    FindingKind(code="missing_image", severity="error", repair="mend",
                text="The cameras name an image that is not there; repaired scenes leave its camera out."),
    FindingKind(code="numbering_gap", severity="note", repair="",
                text="The numbers in the images' names have gaps."),
    # cameras
    FindingKind(code="no_cameras", severity="error", repair="cameras",
                text="sparse/0 is empty or absent."),
    FindingKind(code="broken_sparse", severity="error", repair="cameras",
                text="A COLMAP file is cut off, missing or damaged."),
    FindingKind(code="partial_cameras", severity="warning", repair="cameras",
                text="Under 60 % of the images have a camera."),
    FindingKind(code="wrong_names", severity="error", repair="mend",
                text="The cameras name images differently from the files; repaired scenes name them alike."),
    FindingKind(code="wrong_camera_size", severity="error", repair="mend",
                text="A camera has another size than its images."),
    FindingKind(code="bad_intrinsics", severity="error", repair="cameras",
                text="A focal length or principal point cannot be right."),
    FindingKind(code="bad_pose", severity="error", repair="cameras",
                text="A pose is not finite, or its rotation is none."),
    FindingKind(code="bad_points", severity="error", repair="cameras",
                text="Sparse points are not finite."),
    FindingKind(code="no_parallax", severity="error", repair="cameras",
                text="All cameras stand in one place, or all points lie at infinity."),
    FindingKind(code="points_behind", severity="error", repair="cameras",
                text="Cameras see points that lie behind them."),
    FindingKind(code="poses_disagree", severity="error", repair="cameras",
                text="Points project far from where the model saw them: poses changed or inverted."),
    FindingKind(code="disconnected_model", severity="error", repair="cameras",
                text="The cameras fall into parts that share no points and lie anyhow to each other."),
    FindingKind(code="no_points", severity="note", repair="",
                text="There are cameras without any sparse points; their poses cannot be checked."),
    # masks
    FindingKind(code="no_masks", severity="warning", repair="masks",
                text="The scene has no masks, though others have."),
    FindingKind(code="missing_mask", severity="warning", repair="masks",
                text="Some images have no mask."),
    FindingKind(code="unreadable_mask", severity="error", repair="masks",
                text="A mask cannot be decoded."),
    FindingKind(code="wrong_mask_size", severity="error", repair="resize",
                text="A mask has another size than its image."),
    FindingKind(code="empty_mask", severity="warning", repair="masks",
                text="A mask shows nothing."),
    FindingKind(code="full_mask", severity="warning", repair="masks",
                text="A mask covers the whole image."),
    FindingKind(code="inverted_mask", severity="warning", repair="masks",
                text="A mask shows the surroundings instead of the object."),
    FindingKind(code="masks_disagree", severity="warning", repair="masks",
                text="A mask contradicts the others: by the cameras, they cannot show one object."),
    # what our own datasets and MVPNet have besides
    FindingKind(code="missing_depth", severity="warning", repair="depth",
                text="Images with a camera have no depth map, though others have."),
    FindingKind(code="broken_depth", severity="error", repair="depth",
                text="A depth map is no 16-bit grey PNG of its image's size."),
    FindingKind(code="broken_cloud", severity="error", repair="cloud",
                text="The point cloud cannot be read, is empty, or is not finite."),
    # the rest
    FindingKind(code="broken_record", severity="error", repair="",
                text="sequence.json or repair.json cannot be read; build or repair the scene again."),
    FindingKind(code="crashed", severity="error", repair="",
                text="A library crashed, hung or took too much memory on the scene's files."),
)  # fmt: skip

KINDS_BY_CODE = {kind.code: kind for kind in KINDS}
