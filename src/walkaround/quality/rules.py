"""The one table of thresholds: which score, which limit, and what a miss means.

Stages measure and return ``scores: dict[str, float]``; this table turns them into reason codes.
``reject`` rules decide the status; ``warn`` rules are kept in the record beside an accepted sequence.
docs/rejected.md says what each code means and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A score outside ``low``..``high`` gives the reason ``code``."""

    code: str
    stage: str
    score: str
    verdict: str
    """``reject`` or ``warn``."""
    text: str
    """What it means and what to do, for the person who filmed."""
    low: float = -math.inf
    high: float = math.inf

    def missed(self, scores: Mapping[str, float]) -> bool:
        """Return True when the score was measured and lies outside the limits."""
        value = scores.get(self.score)
        return value is not None and not (self.low <= value <= self.high)


RULES: tuple[Rule, ...] = (
    # capture: measured on the input as it is
    Rule(code="too_few_frames", stage="capture", score="num_source_frames", low=8, verdict="reject",
         text="Fewer than 8 frames can be decoded; film for about 10 seconds."),
    Rule(code="too_long", stage="capture", score="length_share", high=1.0, verdict="reject",
         text="The video is longer than --capture.max-duration-s or --capture.max-frames allow; cut it."),
    Rule(code="short_video", stage="capture", score="duration_s", low=4.0, verdict="warn",
         text="The video is shorter than 4 s; the paper's rule is about 10 s."),
    Rule(code="long_video", stage="capture", score="duration_s", high=60.0, verdict="warn",
         text="The video is longer than 60 s; 30 frames may lie far apart."),
    Rule(code="low_resolution", stage="capture", score="long_side_px", low=640, verdict="warn",
         text="The long side is under 640 px; details of the object will be lost."),
    Rule(code="no_alternation", stage="capture", score="exposure_range_ev", low=0.5, verdict="reject",
         text="No two or three exposures in turn were found, as --hdr needs."),
    # frames
    Rule(code="still_video", stage="frames", score="motion_px", low=1.0, verdict="reject",
         text="Nothing moves in the video; walk around the object while filming."),
    Rule(code="static_camera", stage="frames", score="background_motion_share", low=0.25, verdict="warn",
         text="The object moves before a standing camera; walking around it gives more."),
    Rule(code="too_few_distinct_frames", stage="frames", score="num_frames", low=8, verdict="reject",
         text="Fewer than 8 distinct frames are left; film for about 10 seconds while moving."),
    Rule(code="blurred", stage="frames", score="sharpness", low=0.15, verdict="warn",
         text="The frames are blurred; move slower or film in more light."),
    Rule(code="dark", stage="frames", score="brightness", low=0.06, verdict="warn",
         text="The frames are very dark; film in more light."),
    # cameras
    Rule(code="object_first", stage="cameras", score="object_first", high=0.5, verdict="warn",
         text="The cameras are those of the object's own frame; the background is not part of it."),
    Rule(code="cameras_failed", stage="cameras", score="registered_share", low=0.01, verdict="reject",
         text="No camera could be placed; film with more texture and overlap."),
    Rule(code="few_registered", stage="cameras", score="registered_share", low=0.6, verdict="reject",
         text="Under 60 % of the frames have a camera."),
    Rule(code="partly_registered", stage="cameras", score="registered_share", low=0.9, verdict="warn",
         text="Under 90 % of the frames have a camera."),
    Rule(code="split_model", stage="cameras", score="num_models", high=1, verdict="warn",
         text="The frames fall into several models that do not connect; the largest is kept."),
    Rule(code="imprecise_cameras", stage="cameras", score="reprojection_error_px", high=2.0, verdict="reject",
         text="The mean reprojection error is over 2 px."),
    Rule(code="inconsistent_cameras", stage="cameras", score="camera_consistency", low=0.5, verdict="reject",
         text="Cameras disagree with their neighbours; repeated patterns may have folded the model."),
    Rule(code="folded_model", stage="cameras", score="light_conflict", high=0.1, verdict="reject",
         text="Views of one side see it in different light: sides that look alike were laid on each other, "
              "or the light changed. Film a video, or put a textured cloth below."),
    Rule(code="narrow_arc", stage="cameras", score="arc_deg", low=20.0, verdict="reject",
         text="The object is seen from less than 20 degrees around."),
    Rule(code="short_arc", stage="cameras", score="arc_deg", low=150.0, verdict="warn",
         text="The arc is under 150 degrees; the paper asks for 180 or 360."),
    # depth
    Rule(code="no_depth", stage="depth", score="depth_share", low=0.02, verdict="reject",
         text="Hardly any depth could be measured; the surfaces lack texture."),
    # masks
    Rule(code="no_object", stage="masks", score="object_views_share", low=0.5, verdict="reject",
         text="No object could be found at the centre of the walk-around."),
    Rule(code="small_object", stage="masks", score="object_share", low=0.15, verdict="warn",
         text="The object fills less than 15 % of the frame; go closer."),
    Rule(code="tiny_object", stage="masks", score="object_share", low=0.002, verdict="reject",
         text="The object fills less than 0.2 % of the frame."),
    Rule(code="cut_object", stage="masks", score="border_share", high=0.3, verdict="warn",
         text="The object is cut by the frame's border in many views."),
    Rule(code="inconsistent_masks", stage="masks", score="mask_agreement", low=0.7, verdict="warn",
         text="The masks of different views disagree about the object's shape."),
    # cloud
    Rule(code="empty_cloud", stage="cloud", score="num_points", low=500, verdict="reject",
         text="The object's cloud has fewer than 500 points."),
)  # fmt: skip

RULES_BY_CODE = {rule.code: rule for rule in RULES}


def judge(scores: Mapping[str, float]) -> tuple[str, list[str]]:
    """Return the status (``accepted`` or ``rejected``) and the reason codes, in the table's order."""
    missed = [rule for rule in RULES if rule.missed(scores)]
    status = "rejected" if any(rule.verdict == "reject" for rule in missed) else "accepted"
    return status, [rule.code for rule in missed]
