"""Do views that stand near each other see the object in one light?

An object that looks the same from two sides, or whose pattern repeats, can be folded: its sides are laid on
each other, and every match and every pose agrees. The lamps and windows do not turn with it. Two photos of
one side, taken a few degrees apart, show the same shading; two photos of two sides that were folded together
do not, though their cameras seem to stand at one place. How far apart the light of two images is needs no
model: it is the spread of the brightness ratio over their matches (a common factor, the exposure, does not
count).

In a right model the light drifts apart as the angle grows. In a folded one, near pairs differ more than
pairs that stand further apart: these are the conflicts that are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from walkaround.cameras.consistency import explained
from walkaround.cameras.features import read_frame
from walkaround.cameras.rays import keypoint_rays
from walkaround.cameras.viewgraph import ViewGraph
from walkaround.io.color import linear_from_srgb
from walkaround.types import BoolArray, Float32Array, FloatArray, SparseModel

NEAR_DEG = 20.0
"""Views within this angle are near."""
FAR_DEG = 60.0
"""Views beyond this angle see too little in common to compare with."""
TIMES = 2.0
"""A near pair is in conflict when views further away agree so many times better with both of its views."""
MIN_MATCHES = 50
MIN_PAIRS = 5
_SIZE_PX = 640
_PATCH = 0.01
"""Width of the patch that is averaged, as a share of the long side."""
_DARK = 0.003
"""Added to the linear brightness: about the noise of a phone's camera."""


@dataclass(frozen=True, kw_only=True)
class FrameLight:
    """The brightness of one frame."""

    log_luminance: Float32Array  # (h, w), smoothed, of the linear image
    scale: float
    """Its pixels a pixel of the frame."""

    def at(self, keypoints_px: FloatArray) -> FloatArray:
        """Look up keypoints (N, 2) of the frame, COLMAP's pixel centres; returns (N,)."""
        where = (keypoints_px * self.scale - 0.5).astype(np.float32)  # OpenCV's first pixel centre is at 0
        found = cv2.remap(
            self.log_luminance, where[None, :, 0], where[None, :, 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(found[0], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class LightEvidence:
    """The brightness ratios of matches."""

    graph: ViewGraph
    """All verified matches, of pairs that an attempt leaves out too."""
    ratios: Mapping[tuple[str, str], FloatArray]
    """Logarithm of the ratio at each match of a pair."""


NO_EVIDENCE = LightEvidence(graph=ViewGraph(keypoints={}, matches={}), ratios={})


def read_light(path: Path) -> FrameLight:
    """Read the brightness of a frame.

    Raises
    ------
    SequenceRejected
        It cannot be read.
    """
    image = read_frame(path, cv2.IMREAD_COLOR)
    scale = min(1.0, _SIZE_PX / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    linear = linear_from_srgb(cv2.resize(image, size, interpolation=cv2.INTER_AREA) / 255.0).mean(axis=2)
    width = max(3, round(_PATCH * max(size)) | 1)
    smooth = cv2.GaussianBlur(linear.astype(np.float32), (width, width), 0)
    return FrameLight(log_luminance=np.log(smooth + np.float32(_DARK)), scale=size[0] / image.shape[1])


def read_lights(image_dir: Path, names: Sequence[str], num_threads: int) -> dict[str, FrameLight]:
    """Read the brightness of frames."""
    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        return dict(zip(names, pool.map(lambda name: read_light(image_dir / name), names), strict=True))


def compare_light(graph: ViewGraph, light: Mapping[str, FrameLight]) -> LightEvidence:
    """Look up the brightness at all verified matches of pairs with enough of them."""
    ratios = {
        (a, b): light[a].at(graph.keypoints[a][found[:, 0]]) - light[b].at(graph.keypoints[b][found[:, 1]])
        for (a, b), found in graph.matches.items()
        if len(found) >= MIN_MATCHES and a in light and b in light
    }
    return LightEvidence(graph=graph, ratios=ratios)


def light_conflict(model: SparseModel, evidence: LightEvidence) -> float:
    """Return the share of near pairs whose light disagrees; NaN with fewer than ``MIN_PAIRS`` to ask.

    Only matches that the model's poses explain count: false matches have any light. One pair is forgiven: a
    cloud went before the sun, somebody cast a shadow.
    """
    angle = view_angles_deg(model)
    spread = _model_spreads(model, evidence, angle)
    asked, conflicts = 0, 0
    for i, j in np.argwhere(np.triu(np.isfinite(spread) & (angle < NEAR_DEG), 1)):
        further = (angle >= angle[i, j]) & np.isfinite(spread)
        best = [_least(spread[view], further[view], (i, j)) for view in (i, j)]
        if np.isfinite(best).all():
            asked += 1
            conflicts += bool(spread[i, j] > TIMES * max(best))
    return max(conflicts - 1, 0) / asked if asked >= MIN_PAIRS else float("nan")


def pairs_of_one_light(evidence: LightEvidence, times: float) -> set[tuple[str, str]]:
    """Return the pairs whose light is at most so many times as far apart as the best of both their views."""
    spreads = {pair: light_spread(ratios) for pair, ratios in evidence.ratios.items()}
    best: dict[str, float] = {}
    for pair, spread in spreads.items():
        for name in pair:
            best[name] = min(best.get(name, np.inf), spread)
    return {pair for pair, spread in spreads.items() if spread <= times * max(best[name] for name in pair)}


def light_spread(log_ratios: FloatArray) -> float:
    """Return the robust standard deviation (1.4826 MAD) of logarithms of the brightness ratio (N,)."""
    return 1.4826 * float(np.median(np.abs(log_ratios - np.median(log_ratios))))


def view_angles_deg(model: SparseModel) -> FloatArray:
    """Return the angles (N, N) between the orientations of a model's views."""
    rotations = np.array([view.cam_from_world[:3, :3] for view in model.views])
    cosine = (np.einsum("iab,jab->ij", rotations, rotations) - 1.0) / 2.0
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def _model_spreads(model: SparseModel, evidence: LightEvidence, angle: FloatArray) -> FloatArray:
    """Return the spread (N, N) of each pair of views less than ``FAR_DEG`` apart; NaN where it is unknown."""
    keypoints = evidence.graph.keypoints
    place = {view.frame.image: i for i, view in enumerate(model.views) if view.frame.image in keypoints}
    rays = {name: keypoint_rays(model.views[i].camera, keypoints[name]) for name, i in place.items()}
    table = np.full(angle.shape, np.nan)
    for (a, b), ratios in evidence.ratios.items():
        if a not in place or b not in place or angle[place[a], place[b]] >= FAR_DEG:
            continue
        i, j, found = place[a], place[b], evidence.graph.matches[(a, b)]
        good = explained(model.views[i], model.views[j], rays[a][found[:, 0]], rays[b][found[:, 1]])
        if good.sum() >= MIN_MATCHES:
            table[i, j] = table[j, i] = light_spread(ratios[good])
    return table


def _least(spreads: FloatArray, allowed: BoolArray, but: tuple[int, int]) -> float:
    allowed = allowed.copy()
    allowed[list(but)] = False
    return float(spreads[allowed].min()) if allowed.any() else float("nan")
