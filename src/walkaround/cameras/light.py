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

from walkaround.cameras.viewgraph import ViewGraph
from walkaround.io.color import linear_from_srgb
from walkaround.types import BoolArray, Float32Array, FloatArray, SparseModel

LIMIT = 0.05
"""A model with more than this share of near pairs in conflict is folded. Measured: right models of real and
simulated captures at most 0.01; of four symmetric objects wholly folded 0.5 and more, half folded 0.12."""
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


def read_light(path: Path) -> FrameLight:
    """Read the brightness of a frame.

    Raises
    ------
    OSError
        It cannot be read.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise OSError(f"{path.name} cannot be read as an image")
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


def light_spreads(graph: ViewGraph, light: Mapping[str, FrameLight]) -> dict[tuple[str, str], float]:
    """Return how far apart the light of each pair with enough matches is.

    Robust standard deviation (1.4826 MAD) of the logarithm of the brightness ratio over the matches.
    """
    spreads = {}
    for (a, b), found in graph.matches.items():
        if len(found) >= MIN_MATCHES and a in light and b in light:
            ratio = light[a].at(graph.keypoints[a][found[:, 0]]) - light[b].at(
                graph.keypoints[b][found[:, 1]]
            )
            spreads[(a, b)] = 1.4826 * float(np.median(np.abs(ratio - np.median(ratio))))
    return spreads


def light_conflict(model: SparseModel, spreads: Mapping[tuple[str, str], float]) -> float:
    """Return the share of near pairs whose light disagrees; NaN with fewer than ``MIN_PAIRS`` to ask.

    One pair is forgiven: a cloud went before the sun, somebody cast a shadow.
    """
    names = [view.frame.image for view in model.views]
    spread = _table(names, spreads)
    angle = view_angles_deg(model)
    asked, conflicts = 0, 0
    for i, j in np.argwhere(np.triu(np.isfinite(spread) & (angle < NEAR_DEG), 1)):
        further = (angle >= angle[i, j]) & (angle < FAR_DEG) & np.isfinite(spread)
        best = [_least(spread[view], further[view], (i, j)) for view in (i, j)]
        if np.isfinite(best).all():
            asked += 1
            conflicts += bool(spread[i, j] > TIMES * max(best))
    return max(conflicts - 1, 0) / asked if asked >= MIN_PAIRS else float("nan")


def pairs_of_one_light(
    spreads: Mapping[tuple[str, str], float], times: float = TIMES
) -> set[tuple[str, str]]:
    """Return the pairs whose light is at most so many times as far apart as the best of both their views."""
    best: dict[str, float] = {}
    for pair, spread in spreads.items():
        for name in pair:
            best[name] = min(best.get(name, np.inf), spread)
    return {pair for pair, spread in spreads.items() if spread <= times * max(best[name] for name in pair)}


def view_angles_deg(model: SparseModel) -> FloatArray:
    """Return the angles (N, N) between the orientations of a model's views."""
    rotations = np.array([view.cam_from_world[:3, :3] for view in model.views])
    cosine = (np.einsum("iab,jab->ij", rotations, rotations) - 1.0) / 2.0
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def _table(names: list[str], spreads: Mapping[tuple[str, str], float]) -> FloatArray:
    place = {name: i for i, name in enumerate(names)}
    table = np.full((len(names), len(names)), np.nan)
    for (a, b), spread in spreads.items():
        if a in place and b in place:
            table[place[a], place[b]] = table[place[b], place[a]] = spread
    return table


def _least(spreads: FloatArray, allowed: BoolArray, but: tuple[int, int]) -> float:
    allowed = allowed.copy()
    allowed[list(but)] = False
    return float(spreads[allowed].min()) if allowed.any() else float("nan")
